"""A session executes runs that are chosen one by one from earlier results, as a search does."""

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
"""Returns at most the given number of runs to execute next; none if another run has to end first."""


class Session:
    """Executes runs like :func:`~sharkbench.runner.local.run_suite`: each in its own process, each stored.

    Attributes:
        lost: number of runs whose result could not be written. Nothing is started after the first.
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
        """Execute the runs that ``ask`` returns, until it returns none and none is active. Stored runs are reported and
        not repeated."""
        self._schedule.run((), lambda slots: self._missing(ask, slots))

    def stop(self, key: str) -> None:
        """Stop a run; :class:`~sharkbench.runner.events.RunStopped` is sent once it has stopped."""
        for spec in [spec for spec in self._asked if spec.key == key]:
            self._asked.remove(spec)
            self.tell(RunStopped(spec, 0.0))
        self._schedule.stop(key)

    def measure(self, specs: Iterable[RunSpec]) -> None:
        """Time the lookups of the runs that are stored, ok and not timed yet. No run may be active."""
        measure_all(self.job, unmeasured(self.store, specs), self.processes, self.tell)

    def _missing(self, ask: Ask, slots: int) -> list[RunSpec]:
        while len(self._asked) < slots and (asked := ask(slots - len(self._asked))):
            found = {spec.key: self.store.get(spec.key) for spec in asked}
            self._stored.update({key: result for key, result in found.items() if wanted(result)})
            # Collect all before sending any event: an observer of one may stop the others.
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
    """A session with its runs under ``out``. SIGTERM ends it like Ctrl-C; active runs then end too.

    Args:
        executor: where runs are executed; by default on this machine.
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
    """Encode the data of ``specs`` that is not in the cache; returns the reasons of failures, by fingerprint.

    Raises:
        OSError: the disk is full or read-only, which is not an error of a data set.
        StorageError: the cache is full or read-only.
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
