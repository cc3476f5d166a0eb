"""Classifies failures: kind and one-line reason, from an exception or from the exit of a process."""

from __future__ import annotations

import signal
from pathlib import Path

from sharkbench.errors import DataError, Diverged, SharkbenchError, StorageError, printable
from sharkbench.files.durable import no_room
from sharkbench.results.records import FailureKind

REASON_LENGTH = 500
_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "std::bad_alloc", "out of memory")
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP}


def one_line(error: BaseException) -> str:
    """The message of an exception in one line, with its type unless it was written for users."""
    said = " ".join(str(error).split())
    if not isinstance(error, SharkbenchError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return printable(said if len(said) <= REASON_LENGTH else said[: REASON_LENGTH - 3] + "...")


def is_storage_error(error: BaseException) -> bool:
    """Whether storage is full or read-only, which is not the run's fault and would affect later runs too."""
    return isinstance(error, StorageError) or no_room(error)


def kind_of(error: BaseException) -> FailureKind:
    """The kind of failure of an exception."""
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, DataError):
        return "data"
    if isinstance(error, MemoryError):
        return "out of memory"
    # torch raises a RuntimeError if an allocation fails, on the CPU and on a GPU.
    if isinstance(error, RuntimeError | OSError) and any(words in str(error).lower() for words in _MEMORY_WORDS):
        return "out of memory"
    return "method"


def kind_of_exit(code: int, *, out_of_memory: bool, log: str) -> tuple[FailureKind, str]:
    """Kind and reason of a process that ended without a result.

    Args:
        code: exit code; negative if a signal ended the process.
        out_of_memory: whether the kernel has killed a process for lack of memory meanwhile.
        log: the end of the process's output.
    """
    if code >= 0:
        return "method", f"the process ended with exit code {code} and without a result; see log.txt"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if out_of_memory and -code == signal.SIGKILL:
        return "out of memory", "the kernel ended the process because memory ran out"
    if -code in _CRASHES:
        if any(words in log.lower() for words in _MEMORY_WORDS):
            return "out of memory", f"an allocation failed in native code ({name}); see log.txt"
        return "method", f"crashed in native code ({name}); see log.txt"
    return "killed", f"the process was ended from outside ({name})"


def memory_kills() -> int:
    """Number of processes that the kernel has killed for lack of memory since boot."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
