"""The storage of Optuna's studies: a journal file beside the results, or any storage URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sharkbench.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "optuna.journal"


def storage(address: str, folder: Path) -> BaseStorage | str:
    """The ``storage`` argument of ``optuna.create_study``.

    Args:
        address: a storage URL; empty for a journal in ``folder``.

    Raises:
        InputError: the address cannot be reached.
    """
    import optuna

    # Optuna logs each trial to stderr, where the command shows its table.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not address:
        folder.mkdir(parents=True, exist_ok=True)
        return _journal(folder / JOURNAL)
    try:
        return optuna.storages.get_storage(address)
    except Exception as error:  # any exception of the database driver
        from sharkbench.tracking import reason, without_secrets

        raise InputError(
            f"search.storage: {without_secrets(address, address)} cannot be used ({reason(error, address)}); "
            "leave it out for a journal file beside the results"
        ) from None


def _journal(path: Path) -> BaseStorage:
    from filelock import FileLock
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._file import BaseJournalFileLock

    class KernelLock(BaseJournalFileLock):
        """A lock that the system releases if its holder dies; Optuna's own locks would block for half a minute."""

        def __init__(self) -> None:
            # Another name than Optuna's lock, for which optuna-dashboard would wait when it saves a note.
            self._lock = FileLock(path.with_name(f".{path.name}.lock"))

        def acquire(self) -> bool:
            self._lock.acquire()
            return True

        def release(self) -> None:
            self._lock.release()

    lock = KernelLock()
    lock.acquire()
    try:
        _drop_torn_line(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))


def _drop_torn_line(path: Path) -> None:
    """Remove an incomplete last line, left by a killed writer, to which the next line would be appended."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = size
        while keep:
            start = max(0, keep - 4096)
            file.seek(start)
            block = file.read(keep - start)
            if (end := block.rfind(b"\n")) >= 0:
                keep = start + end + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)
