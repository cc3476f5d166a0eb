"""Tells whether what is read is what was written: digests of files, checked before the files are believed.

A page that a disk lost, a copy that was cut off, or a byte that somebody changed looks like any other number.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from sharkbench.errors import ArtifactError
from sharkbench.files.durable import write_text

SEAL = "digests.json"
"""File of a folder that says what its other files are to be."""

SETTLED = 2.0
"""Seconds without a change after which a later change is sure to have another time, on any file system."""

_known: dict[tuple[str, int, int, int, int, int], str] = {}
"""Digests by path and state of a file: each is read once per process, and again when it has changed. What was written
a moment ago is not among them: a change right after would leave its state as it is."""


class Damaged(ArtifactError):
    """A file is not the one that was written; the message names it."""


class MadeAgain(UserWarning):
    """Something was damaged and has been made again, or is about to be; the message names the file."""


def seal(folder: Path, names: Iterable[str]) -> None:
    """Put down what the files ``names`` of ``folder`` are, after the last of them has been written."""
    write_text(folder / SEAL, json.dumps({name: digest(folder / name) for name in sorted(names)}, indent=1))


def check(folder: Path, names: Iterable[str]) -> None:
    """Read the files ``names`` of a sealed folder and compare; each once per process.

    Raises:
        Damaged: one is missing or has other bytes than when the folder was sealed, or the folder is not sealed.
    """
    file = folder / SEAL
    try:
        sealed = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"{file} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{file} is damaged: it cannot be read ({' '.join(str(error).split())})") from None
    for name in names:
        wanted = sealed.get(name) if isinstance(sealed, dict) else None
        if not isinstance(wanted, str):
            raise Damaged(f"{file} is damaged: it says nothing of {name}")
        compare(folder / name, wanted)


def compare(file: Path, wanted: str) -> None:
    """Read ``file`` and compare with what its writer has put down.

    Raises:
        Damaged: it is missing, cannot be read, or has other bytes.
    """
    try:
        found = digest(file)
    except FileNotFoundError:
        raise Damaged(f"{file} is missing") from None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damaged(f"{file} is damaged: the disk cannot read it") from None
    if found != wanted:
        raise Damaged(f"{file} is damaged: its bytes are not those that were written")


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; of one that has not changed since it was last asked for, as it was."""
    with file.open("rb") as stream:
        state = os.fstat(stream.fileno())
        key = (str(file), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key in _known:
            return _known[key]
        began = time.time()
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if began - state.st_ctime_ns / 1e9 > SETTLED:
        _known[key] = found
    return found
