"""Runs that are decided on one after the other, from what came out of those before: what a search needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sharkbench.data.prepare import prepare, prepared_path
from sharkbench.errors import StorageError
from sharkbench.results.records import Result
from sharkbench.results.store import Store
from sharkbench.runner.events import Event, RunEnded, RunStopped
from sharkbench.runner.executors import Executor, executor_of
from sharkbench.runner.failures import is_storage_error, one_line
from sharkbench.runner.job import Job
from sharkbench.runner.local import EXECUTE, MEASURE, new_invocation, opened, termination_as_interrupt, wanted
from sharkbench.runner.measuring import measure_all, unmeasured
from sharkbench.runner.schedule import Schedule
from sharkbench.suite.executors import AnyExecutor, LocalExecutor
from sharkbench.suite.run import RunSpec

Ask = Callable[[int], Sequence[RunSpec]]
"""Gives up to so many runs to do next; none where there is nothing to do until another one has ended."""


class Session:
    """Executes runs as :func:`~sharkbench.runner.local.run_suite` does: each in a process of its own, each stored.

    Attributes:
        lost: runs whose result could not be written. Nothing is started after the first.
    """

    def __init__(self, job: Job, processes: Executor, tell: Callable[[Event], None]) -> None:
        self.job, self.processes, self.tell = job, processes, tell
        self._stored: dict[str, Result | None] = {}
        self._asked: list[RunSpec] = []
        """Runs that are about to be scheduled."""
        self._schedule = Schedule(job, processes, self._stored, tell)

    @property
    def store(self) -> Store:
        return self.job.store

    @property
    def lost(self) -> int:
        return self._schedule.lost

    def run(self, ask: Ask) -> None:
        """Execute what ``ask`` gives, until it gives nothing and nothing is at work. What is stored already is told of
        and not done again."""
        self._schedule.run((), lambda slots: self._missing(ask, slots))

    def stop(self, key: str) -> None:
        """Give up a run; :class:`~sharkbench.runner.events.RunStopped` tells when it is."""
        for spec in [spec for spec in self._asked if spec.key == key]:
            self._asked.remove(spec)
            self.tell(RunStopped(spec, 0.0))
        self._schedule.stop(key)

    def measure(self, specs: Iterable[RunSpec]) -> None:
        """Time the lookups of those that are stored, ok and not timed yet. Nothing else may be at work."""
        measure_all(self.job, unmeasured(self.store, specs), self.processes, self.tell)

    def _missing(self, ask: Ask, slots: int) -> list[RunSpec]:
        while len(self._asked) < slots and (asked := ask(slots - len(self._asked))):
            found = {spec.key: self.store.get(spec.key) for spec in asked}
            self._stored.update({key: result for key, result in found.items() if wanted(result)})
            # All of them before any is told of: who hears of one may give up the others.
            self._asked += [spec for spec in asked if wanted(found[spec.key])]
            for result in found.values():
                if result is not None and not wanted(result):
                    self.tell(RunEnded(result, cached=True))
        missing, self._asked = self._asked, []
        return missing


@contextmanager
def session(
    out: Path | str,
    tell: Callable[[Event], None],
    *,
    executor: AnyExecutor | None = None,
    threads: int = 1,
    jobs: int = 1,
    cache_dir: Path | None = None,
    invocation: str | None = None,
    execute: str = EXECUTE,
    measure: str = MEASURE,
) -> Iterator[Session]:
    """A session whose runs lie under ``out``. SIGTERM ends it like Ctrl-C; whatever is at work then ends too.

    Args:
        executor: where runs run; here unless given.
        threads: CPU threads of a run.

    Raises:
        InputError: ``out`` cannot be written to, or the executor cannot be reached.
    """
    executor = executor or LocalExecutor()
    job = Job(opened(out), invocation or new_invocation(), execute, measure, cache_dir, jobs, executor.retries)
    preload = {"sharkbench.runner.worker", *(name.partition(":")[0] for name in (execute, measure))}
    with termination_as_interrupt(), executor_of(executor, sorted(preload), threads=threads) as processes:
        processes.prepare()
        yield Session(job, processes, tell)


def prepare_data(specs: Iterable[RunSpec], cache_dir: Path | None = None) -> dict[str, str]:
    """Encode the data of ``specs`` where it is not in the cache; returns why it cannot be, by fingerprint.

    Raises:
        OSError: the disk is full or read-only, which is no data set's own.
        StorageError: the cache is.
    """
    failed: dict[str, str] = {}
    for spec in {spec.fingerprint: spec for spec in specs}.values():
        try:
            if not prepared_path(spec.dataset, cache_dir).is_dir():
                prepare(spec.dataset, cache_dir)
        except Exception as error:
            if isinstance(error, StorageError) or is_storage_error(error):
                raise
            failed[spec.fingerprint] = f"data set '{spec.dataset.name}': {one_line(error)}"
    return failed
