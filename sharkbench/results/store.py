"""What came out of a run, and where it lies. The runner writes it; tracking and the leaderboard only read it.

``<out>/runs/<key>/`` holds one finished run and appears in one rename:

    spec.json            the resolved RunSpec
    environment.json     an Environment
    result.json          a Result
    code.json            digests of the modules that its outcome depends on
    log.txt              all that the run's process printed
    packed.safetensors   the compressed table (only when the run is ok)
    backbone.safetensors the backbone that goes with it (only when the run is ok)
    verified.json        where it was made by code of before: what showed that the present code makes the same
    digests.json         what the bytes of these two are, compared whenever they are loaded
    notes.json           tables that the method has noted down, by name (only where there are any)
    speed.json           a Speed, added in one rename by the measuring stage, which has the machine to itself
    speed-error.txt      instead of it: why the run could not be measured, in one line

``<out>/shared/`` holds the full-precision models that runs share, ``<out>/checkpoints/`` how far long trainings got,
``<out>/.locks/`` one lock per key. Whatever else is in ``runs/`` is of a dead process; the next one sweeps it away.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from sharkbench.errors import SharkbenchError, printable
from sharkbench.files.durable import rename_folder, write_text
from sharkbench.results.records import Environment, Result, Speed, Verified
from sharkbench.results.uncollected import uncollected

if TYPE_CHECKING:
    from sharkbench.suite.run import RunSpec

SPEC, ENVIRONMENT, RESULT, LOG, SPEED = "spec.json", "environment.json", "result.json", "log.txt", "speed.json"
SPEED_ERROR, NOTES, CODE, VERIFIED = "speed-error.txt", "notes.json", "code.json", "verified.json"
MODEL = "packed.safetensors"
MAX_FILE_BYTES = 64 << 20
"""Of a record; those of real runs have thousands of bytes."""


AnyRecord = TypeVar("AnyRecord", bound=BaseModel)
T = TypeVar("T")


class Store:
    """All finished runs under one output directory. Making one creates nothing; reading needs nothing heavy.

    Args:
        origin: what to call it in warnings, where ``out`` is only a copy of something else.
    """

    def __init__(self, out: Path | str, origin: Path | None = None) -> None:
        self.out, self.origin = Path(out), origin
        self.runs = self.out / "runs"
        self.shared = self.out / "shared"

    def directory(self, key: str) -> Path:
        """Where the run ``key`` lies once it has ended."""
        if not re.fullmatch(r"\w+", key):
            raise ValueError(f"not the key of a run: {key!r}")
        return self.runs / key

    def keys(self) -> list[str]:
        """Keys of all stored runs, sorted."""
        if not self.runs.is_dir():
            return []
        with os.scandir(self.runs) as entries:
            return sorted(e.name for e in entries if re.fullmatch(r"\w+", e.name) and e.is_dir(follow_symlinks=False))

    def get(self, key: str) -> Result | None:
        """What came out of a run, ``None`` where nothing is; what cannot be read is warned of and left out."""
        result = self._record(key, RESULT, Result)
        if result is not None and result.key != key:
            warnings.warn(f"{self.runs / key / RESULT} belongs to another run, '{result.key}'; ignored", stacklevel=2)
            return None
        if result is not None and self.directory(key).is_symlink():
            warnings.warn(f"{self.directory(key)} is a link and no run; ignored", stacklevel=2)
            return None
        return result

    def named(self, spec: RunSpec) -> Result | None:
        """What came out of ``spec``, under the label and in the suite that it has now; they decide nothing else."""
        result = self.get(spec.key)
        if result is None or (result.method_label, result.suite) == (spec.method_label, spec.suite):
            return result
        result = result.model_copy(update={"method_label": spec.method_label, "suite": spec.suite})
        write_text(self.directory(spec.key) / RESULT, result.model_dump_json(indent=1))
        return result

    def results(self) -> list[Result]:
        """Everything that came out, in the order of the keys."""
        with uncollected():
            return [result for key in self.keys() if (result := self.get(key)) is not None]

    def speed(self, key: str) -> Speed | None:
        """What the measuring stage found, ``None`` where it has not been there."""
        return self._record(key, SPEED, Speed)

    def has_speed(self, key: str) -> bool:
        """Whether the measuring stage has been there."""
        return (self.directory(key) / SPEED).is_file()

    def has_model(self, key: str) -> bool:
        """Whether the run's model is here; it is not where an archive was merged."""
        return (self.directory(key) / MODEL).is_file()

    def speed_error(self, key: str) -> str | None:
        """Why the run could not be measured when that was last tried."""
        said = self.text(key, SPEED_ERROR)
        return said and said.strip()

    def notes(self, key: str) -> dict[str, list[dict[str, Any]]]:
        """Tables that the method has noted down, by name; what is no table of rows is left out."""
        content = self._read(key, NOTES, json.loads)
        tables = content.items() if isinstance(content, dict) else ()
        return {name: [row for row in rows if isinstance(row, dict)] for name, rows in tables if isinstance(rows, list)}

    def text(self, key: str, name: str) -> str | None:
        """One of a run's files, ``None`` where it is not; what cannot be read is warned of and left out."""
        return self._read(key, name, bytes.decode)

    def environment(self, key: str) -> Environment | None:
        """Revision, versions and hardware of a run; ``None`` where nothing is stored."""
        return self._record(key, ENVIRONMENT, Environment)

    def code(self, key: str) -> dict[str, str]:
        """Digests of the modules that a run's outcome depends on; empty where nothing is stored."""
        content = self._read(key, CODE, json.loads)
        return {str(name): str(digest) for name, digest in content.items()} if isinstance(content, dict) else {}

    def verified(self, key: str) -> Verified | None:
        """What showed that newer code makes the same of a run; ``None`` where the code that made it has its digest."""
        return self._record(key, VERIFIED, Verified)

    def spec(self, key: str) -> RunSpec | None:
        """The run as it was resolved; ``None`` where nothing is stored or its method is no longer known here."""
        from sharkbench.suite.run import RunSpec

        # Not what was read before: the same text may mean another file, where methods lie in another folder by now.
        return self._read(key, SPEC, RunSpec.model_validate_json)

    def _record(self, key: str, name: str, record: type[AnyRecord]) -> AnyRecord | None:
        return self._read(key, name, lambda content: _parsed(record, content))

    def _read(self, key: str, name: str, parse: Callable[[bytes], T]) -> T | None:
        path = f"{self.directory(key)}/{name}"
        try:
            return parse(_content(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            why = _mistake(error)
        except (OSError, ValueError, RecursionError, SharkbenchError) as error:
            why = str(error)
        shown = path if self.origin is None else f"{self.origin}: {key}/{name}"
        warnings.warn(f"{shown} cannot be read: {printable(why)}; left out", stacklevel=3)
        return None

    def lock(self, name: str) -> FileLock:
        """Held by whoever works on the run ``name``; the system lets go of it when its holder dies."""
        folder = self.out / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def begin(self, key: str) -> Path:
        """A directory for the run ``key`` to work in, which no reader sees before :meth:`publish`. Needs its lock."""
        directory = self.runs / f".tmp-{key}-{os.getpid()}-{secrets.token_hex(4)}"
        directory.mkdir(parents=True)
        return directory

    def publish(self, directory: Path, key: str) -> Path:
        """Make ``directory`` the stored run ``key`` in one rename once it is on disk; an earlier one is replaced."""
        target = self.directory(key)
        replaced = self.runs / f".old-{key}-{secrets.token_hex(4)}"
        rename_folder(directory, target, replaced)  # a kill between its two renames is undone by sweep()
        shutil.rmtree(replaced, ignore_errors=True)
        return target

    def checkpoints(self, key: str) -> Path:
        """Where the run ``key`` keeps what its trainings need to go on after a kill."""
        return self.out / "checkpoints" / key

    def forget(self, key: str) -> None:
        """Remove a run's checkpoints."""
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def write_speed(self, key: str, speed: Speed | str) -> None:
        """Add what was measured to a stored run, or in one line why it could not be."""
        directory = self.directory(key)
        if isinstance(speed, str):
            write_text(directory / SPEED_ERROR, speed + "\n")
        else:
            write_text(directory / SPEED, speed.model_dump_json(indent=1))
            (directory / SPEED_ERROR).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what dead processes left in ``runs/``; what a living one works on stays."""
        for leftover in sorted(self.runs.glob(".*-*-*")):
            kind, key, *_ = leftover.name[1:].split("-")
            try:
                with self.lock(key).acquire(timeout=0):
                    if kind == "old" and not self.directory(key).exists():
                        leftover.rename(self.directory(key))
                    else:
                        shutil.rmtree(leftover, ignore_errors=True)
            except Timeout:
                continue


def _content(path: str) -> bytes:
    """A plain file of some size: neither a link out of the store, nor a pipe to wait for, nor a device without end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise OSError(f"not a plain file of at most {MAX_FILE_BYTES:,} bytes")
        return file.read()


def _mistake(error: ValidationError) -> str:
    """The first field that is wrong, what is wrong with it, and what it holds."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    held = first["input"]
    shown = f" (it is {held!r})" if isinstance(held, str | int | float) and first["type"] != "json_invalid" else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{shown}"


@lru_cache(maxsize=64)
def _parsed(record: type[AnyRecord], content: bytes) -> AnyRecord:
    """Known again where it is the same, as the environment is for most runs."""
    return record.model_validate_json(content)
