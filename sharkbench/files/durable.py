"""Files that are there as a whole, on disk, or not at all, whoever is killed and whatever loses its power meanwhile.

Every writer goes this way: it writes beside the file under a name of its own, flushes that to disk, renames it, and
flushes the folder. What is being written is locked, so that what nobody has locked is of a dead writer, on this machine
or another, and is removed by the next one who writes into the same folder.
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
    """A file to write into: it becomes ``path`` when the block ends, and is gone where the block raises.

    The folder of ``path`` must be there. Whoever reads ``path`` sees the old file or the new one, never a part.

    Raises:
        OSError: there is no room, or the folder cannot be written to.
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
    """Write a file that is there as a whole, on disk, or not at all.

    Raises:
        OSError: as of :func:`replacing`.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def rename_folder(folder: Path, target: Path, replaced: Path | None = None) -> None:
    """Give a folder of files its name once all that it holds is on disk.

    Args:
        replaced: where a folder goes that has the name already.
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
    """Return when a file, or what a folder lists, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed writers have left in ``folder``; what a living one is writing stays."""
    for leftover in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), _claimed(leftover):
            leftover.unlink()


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """An empty folder that is gone after the block; those of killed processes go too.

    Args:
        parent: where it lies; the system's folder for such things unless given.
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
    """Whether a disk is full or read-only: nobody's mistake, and nothing that is tried again would do better.

    Libraries in other languages raise it as something else than an OSError, and say it in words.
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
    with contextlib.suppress(OSError):  # a file system without locks, on which nobody can claim anything either
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """What nobody has locked.

    Raises:
        OSError: someone has, or this file system knows no locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
