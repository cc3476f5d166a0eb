"""What an executor has to be able to do, and which one a suite asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from sharkbench.runner.processes import Processes, Worker
from sharkbench.suite.executors import LocalExecutor, RayExecutor


class Executor(Protocol):
    """Gives each job a process of its own, somewhere. :class:`~sharkbench.runner.processes.Processes` says the rest."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def prepare(self) -> None:
        """Begin to get ready."""

    def start(self, call: str, arguments: Mapping[str, Any], log: Path) -> Worker:
        """Hand in ``call`` (``module:function``, called with ``send`` and ``arguments``), which prints to ``log``."""
        ...

    def wait(self, seconds: float) -> list[Worker]:
        """Workers that have sent something or ended, as soon as there is one or after ``seconds`` at the latest."""
        ...

    def kill(self, worker: Worker, number: int = ...) -> None:
        """End a worker, with the signal ``number`` where it has begun."""

    def alone(self) -> Executor:
        """One whose workers have their machine to themselves, as far as this executor can see to it."""
        ...

    def close(self) -> None:
        """End every worker."""


def executor_of(config: LocalExecutor | RayExecutor, preload: Sequence[str], *, threads: int) -> Executor:
    """The executor that ``config`` describes.

    Args:
        preload: modules to import before a process is given its job.
        threads: CPU threads of a run.

    Raises:
        InputError: what it needs is not installed or cannot be reached.
    """
    if isinstance(config, LocalExecutor):
        return Processes(preload)
    from sharkbench.runner.ray import RayTasks  # Ray is an extra

    return RayTasks(config, preload, threads=threads)
