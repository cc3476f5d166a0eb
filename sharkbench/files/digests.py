"""Digests of files, checked before the files are read, to detect damage.

A page that a disk lost, a truncated copy or a changed byte is otherwise indistinguishable from valid data.
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
"""File of a folder with the digests of its other files."""

SETTLED = 2.0
"""Seconds without a change after which any later change has a different timestamp, on any file system."""

_known: dict[tuple[str, int, int, int, int, int], str] = {}
"""Digests by path and state of a file: each file is read once per process, and again when it has changed. Files written
a moment ago are not cached: a further change might leave their state as it is."""


class Damaged(ArtifactError):
    """A file is not the one that was written; the message names it."""


class MadeAgain(UserWarning):
    """A damaged file has been or will be created again; the message names it."""


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of the files ``names`` of ``folder``, after the last of them has been written."""
    write_text(folder / SEAL, json.dumps({name: digest(folder / name) for name in sorted(names)}, indent=1))


def check(folder: Path, names: Iterable[str]) -> None:
    """Check the files ``names`` of a sealed folder against their digests, each once per process.

    Raises:
        Damaged: a file is missing or differs from when the folder was sealed, or the folder is not sealed.
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
    """Check ``file`` against its digest ``wanted``.

    Raises:
        Damaged: the file is missing, cannot be read, or has another digest.
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
    """SHA-256 of a file's bytes, 64 hex digits; cached for files that have not changed since the last call."""
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
