"""The interface of executors, and the selection of a suite's executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from sharkbench.runner.processes import Processes, Worker
from sharkbench.suite.executors import LocalExecutor, RayExecutor


class Executor(Protocol):
    """Runs each job in its own process, somewhere. See :class:`~sharkbench.runner.processes.Processes` for details."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def prepare(self) -> None:
        """Start preparing in the background."""

    def start(self, call: str, arguments: Mapping[str, Any], log: Path) -> Worker:
        """Submit ``call`` (``module:function``, called with ``send`` and ``arguments``), which prints to ``log``."""
        ...

    def wait(self, seconds: float) -> list[Worker]:
        """Workers that have sent something or ended; returns once there is one, after ``seconds`` at the latest."""
        ...

    def kill(self, worker: Worker, number: int = ...) -> None:
        """End a worker, with the signal ``number`` if it has started."""

    def alone(self) -> Executor:
        """An executor whose workers have a machine of their own, as far as this executor can ensure that."""
        ...

    def close(self) -> None:
        """End every worker."""


def executor_of(config: LocalExecutor | RayExecutor, preload: Sequence[str], *, threads: int) -> Executor:
    """Create the executor described by ``config``.

    Args:
        preload: modules to import before a process is given its job.
        threads: CPU threads of a run.

    Raises:
        InputError: a requirement is not installed or cannot be reached.
    """
    if isinstance(config, LocalExecutor):
        return Processes(preload)
    from sharkbench.runner.ray import RayTasks  # Ray is an extra

    return RayTasks(config, preload, threads=threads)
