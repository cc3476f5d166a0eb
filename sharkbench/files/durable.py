"""Atomic, durable writes: a file is on disk completely or not at all, even if processes are killed or power is lost.

A writer writes beside the file under a temporary name, flushes that to disk, renames it, and flushes the folder. A
temporary file is locked while it is written, so an unlocked one belongs to a dead writer, on this machine or another,
and is removed by the next writer into the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
_SCRATCH = "sharkbench-scratch-"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_NO_ROOM_WORDS = ("no space left on device", "disk quota exceeded", "read-only file system", "file too large")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write to: it becomes ``path`` when the block ends, and is removed if the block raises.

    The folder of ``path`` must exist. Readers of ``path`` see the old file or the new one, never a part.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    sweep(path.parent)
    partial, held = _locked_file(path)
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        os.close(held)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and durably.

    Raises:
        OSError: as for :func:`replacing`.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def rename_folder(folder: Path, target: Path, replaced: Path | None = None) -> None:
    """Rename a folder of files once all its content is on disk.

    Args:
        replaced: new path of a folder that has the name already.
    """
    for inside in folder.rglob("*"):
        if not inside.is_symlink():
            sync(inside)
    sync(folder)
    if replaced is not None and target.exists():
        target.rename(replaced)
    folder.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove leftovers of killed writers in ``folder``; files that are being written stay."""
    for leftover in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), _claimed(leftover):
            leftover.unlink()


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder that is removed after the block; those of killed processes are removed too.

    Args:
        parent: parent folder; by default the system's folder for temporary files.
    """
    place = parent or Path(tempfile.gettempdir())
    for leftover in place.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), _claimed(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=place))
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            held = os.open(folder, os.O_RDONLY)
            _lock(held)
            if folder.is_dir():
                break
            os.close(held)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def no_room(error: BaseException) -> bool:
    """Whether the error means that a disk is full or read-only, so that retrying is useless.

    Libraries in other languages raise other types than OSError, so their messages are searched too.
    """
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    said = str(error).lower()
    return any(words in said for words in _NO_ROOM_WORDS)


def _locked_file(path: Path) -> tuple[Path, int]:
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        held = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(held)
        if os.fstat(held).st_nlink:
            return partial, held
        os.close(held)  # swept before it was locked


def _lock(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: claiming fails on it too
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Hold the lock of an unlocked file or folder.

    Raises:
        OSError: it is locked, or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
