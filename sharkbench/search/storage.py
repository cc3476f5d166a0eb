"""Where Optuna keeps its studies: a journal beside the results, or any storage that it knows by an address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sharkbench.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "optuna.journal"


def storage(address: str, folder: Path) -> BaseStorage | str:
    """What ``optuna.create_study`` takes as ``storage``.

    Args:
        address: a storage URL; empty for a journal in ``folder``.

    Raises:
        InputError: the address cannot be reached.
    """
    import optuna

    # It tells each trial on stderr, where the table of the command stands.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not address:
        folder.mkdir(parents=True, exist_ok=True)
        return _journal(folder / JOURNAL)
    try:
        return optuna.storages.get_storage(address)
    except Exception as error:  # whatever the database's driver raises
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
        """The system lets go of it when its holder dies; Optuna's own locks would be waited for half a minute."""

        def __init__(self) -> None:
            # Under another name than theirs, which would wait for it when someone takes a note in optuna-dashboard.
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
    """Whoever was killed while writing has left half a line, to which the next line would be added."""
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
