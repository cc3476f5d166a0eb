"""The store of results. The runner writes it; tracking and the leaderboard only read it.

``<out>/runs/<key>/`` holds one finished run and appears in one rename:

    spec.json            the resolved RunSpec
    environment.json     an Environment
    result.json          a Result
    code.json            digests of the modules that its outcome depends on
    log.txt              the output of the run's process
    packed.safetensors   the compressed table (only when the run is ok)
    backbone.safetensors the backbone that goes with it (only when the run is ok)
    verified.json        for a run of earlier code: evidence that the present code gives the same result
    digests.json         digests of the two models, checked whenever they are loaded
    notes.json           tables that the method has noted down, by name (only if there are any)
    speed.json           a Speed, added in one rename by the measuring stage, during which nothing else runs
    speed-error.txt      instead of it: why the run could not be measured, in one line

``<out>/shared/`` holds the full-precision models that runs share, ``<out>/checkpoints/`` the checkpoints of long
trainings, ``<out>/.locks/`` one lock per key. Any other file in ``runs/`` is a leftover of a dead process, which the
next process removes.
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
"""Largest size of a record; records of real runs have thousands of bytes."""


AnyRecord = TypeVar("AnyRecord", bound=BaseModel)
T = TypeVar("T")


class Store:
    """All finished runs under one output directory. The constructor creates no files; reading imports nothing heavy.

    Args:
        origin: name of the store in warnings, if ``out`` is only a copy.
    """

    def __init__(self, out: Path | str, origin: Path | None = None) -> None:
        self.out, self.origin = Path(out), origin
        self.runs = self.out / "runs"
        self.shared = self.out / "shared"

    def directory(self, key: str) -> Path:
        """Directory of the finished run ``key``."""
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
        """Result of a run, ``None`` if there is none; an unreadable one causes a warning and counts as missing."""
        result = self._record(key, RESULT, Result)
        if result is not None and result.key != key:
            warnings.warn(f"{self.runs / key / RESULT} belongs to another run, '{result.key}'; ignored", stacklevel=2)
            return None
        if result is not None and self.directory(key).is_symlink():
            warnings.warn(f"{self.directory(key)} is a link and no run; ignored", stacklevel=2)
            return None
        return result

    def named(self, spec: RunSpec) -> Result | None:
        """Result of ``spec``, with the present label and suite name, which do not affect the outcome."""
        result = self.get(spec.key)
        if result is None or (result.method_label, result.suite) == (spec.method_label, spec.suite):
            return result
        result = result.model_copy(update={"method_label": spec.method_label, "suite": spec.suite})
        write_text(self.directory(spec.key) / RESULT, result.model_dump_json(indent=1))
        return result

    def results(self) -> list[Result]:
        """All results, in the order of their keys."""
        with uncollected():
            return [result for key in self.keys() if (result := self.get(key)) is not None]

    def speed(self, key: str) -> Speed | None:
        """Speed of a run, ``None`` if it has not been measured."""
        return self._record(key, SPEED, Speed)

    def has_speed(self, key: str) -> bool:
        """Whether the run has been measured."""
        return (self.directory(key) / SPEED).is_file()

    def has_model(self, key: str) -> bool:
        """Whether the run's model is stored; it is missing for runs merged from an archive."""
        return (self.directory(key) / MODEL).is_file()

    def speed_error(self, key: str) -> str | None:
        """Reason why the last measurement of the run failed."""
        said = self.text(key, SPEED_ERROR)
        return said and said.strip()

    def notes(self, key: str) -> dict[str, list[dict[str, Any]]]:
        """Tables that the method has noted down, by name; entries that are not tables of rows are left out."""
        content = self._read(key, NOTES, json.loads)
        tables = content.items() if isinstance(content, dict) else ()
        return {name: [row for row in rows if isinstance(row, dict)] for name, rows in tables if isinstance(rows, list)}

    def text(self, key: str, name: str) -> str | None:
        """Text of one of a run's files, ``None`` if it is missing; an unreadable file causes a warning."""
        return self._read(key, name, bytes.decode)

    def environment(self, key: str) -> Environment | None:
        """Revision, versions and hardware of a run; ``None`` if nothing is stored."""
        return self._record(key, ENVIRONMENT, Environment)

    def code(self, key: str) -> dict[str, str]:
        """Digests of the modules that a run's outcome depends on; empty if nothing is stored."""
        content = self._read(key, CODE, json.loads)
        return {str(name): str(digest) for name, digest in content.items()} if isinstance(content, dict) else {}

    def verified(self, key: str) -> Verified | None:
        """Verifications of a run by newer code; ``None`` if its digest is that of the code that computed it."""
        return self._record(key, VERIFIED, Verified)

    def spec(self, key: str) -> RunSpec | None:
        """The resolved specification of a run; ``None`` if nothing is stored or its method is unknown here."""
        from sharkbench.suite.run import RunSpec

        # Not cached: the same text may refer to another file if the folder of methods has changed.
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
        """The lock of the run ``name``, held by the process that works on it; the system releases it if that dies."""
        folder = self.out / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def begin(self, key: str) -> Path:
        """Create the working directory of the run ``key``, hidden until :meth:`publish`. Requires the run's lock."""
        directory = self.runs / f".tmp-{key}-{os.getpid()}-{secrets.token_hex(4)}"
        directory.mkdir(parents=True)
        return directory

    def publish(self, directory: Path, key: str) -> Path:
        """Make ``directory`` the stored run ``key`` in one rename once it is on disk; an earlier one is replaced."""
        target = self.directory(key)
        replaced = self.runs / f".old-{key}-{secrets.token_hex(4)}"
        rename_folder(directory, target, replaced)  # sweep() undoes a kill between its two renames
        shutil.rmtree(replaced, ignore_errors=True)
        return target

    def checkpoints(self, key: str) -> Path:
        """Folder of the checkpoints from which the trainings of the run ``key`` resume after a kill."""
        return self.out / "checkpoints" / key

    def forget(self, key: str) -> None:
        """Remove a run's checkpoints."""
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def write_speed(self, key: str, speed: Speed | str) -> None:
        """Add the measured speed to a stored run, or the reason of the failure in one line."""
        directory = self.directory(key)
        if isinstance(speed, str):
            write_text(directory / SPEED_ERROR, speed + "\n")
        else:
            write_text(directory / SPEED, speed.model_dump_json(indent=1))
            (directory / SPEED_ERROR).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove leftovers of dead processes in ``runs/``; directories in use stay."""
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
    """Content of a regular file of limited size: links, pipes and devices are refused."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise OSError(f"not a plain file of at most {MAX_FILE_BYTES:,} bytes")
        return file.read()


def _mistake(error: ValidationError) -> str:
    """The first invalid field, its error and its value."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    held = first["input"]
    shown = f" (it is {held!r})" if isinstance(held, str | int | float) and first["type"] != "json_invalid" else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{shown}"


@lru_cache(maxsize=64)
def _parsed(record: type[AnyRecord], content: bytes) -> AnyRecord:
    """Parse a record; cached, because most runs have the same environment."""
    return record.model_validate_json(content)
