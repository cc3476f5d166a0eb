"""Executes a plan: prepares the data, executes the missing runs, measures speeds, and updates the tables."""

from __future__ import annotations

import secrets
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sharkbench import leaderboard
from sharkbench.data.prepare import prepare, prepared_path
from sharkbench.errors import InputError, SharkbenchError, StorageError
from sharkbench.results.records import FailureKind, Result
from sharkbench.results.store import Store
from sharkbench.runner.events import Event, Message, RunEnded
from sharkbench.runner.executors import executor_of
from sharkbench.runner.failures import is_storage_error, kind_of, one_line
from sharkbench.runner.job import Job
from sharkbench.runner.measuring import measure_all, unmeasured
from sharkbench.runner.schedule import Schedule
from sharkbench.runner.tracked import Tracked
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec

EXECUTE, MEASURE = "sharkbench.runner.execute:execute", "sharkbench.runner.execute:measure"


@dataclass(frozen=True)
class Summary:
    """Counts of the runs of a plan by status, from this call or before; ``cached`` of them were stored before."""

    done: int = 0
    failed: int = 0
    infeasible: int = 0
    cached: int = 0
    interrupted: bool = False


def run_suite(
    suite: Suite,
    plan: Sequence[RunSpec],
    out: Path | str,
    *,
    jobs: int = 1,
    force: bool = False,
    retry_failed: bool = False,
    cache_dir: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    execute: str = EXECUTE,
    measure: str = MEASURE,
) -> Summary:
    """Execute the missing runs of ``plan``; all results are stored under ``out``.

    Ctrl-C and SIGTERM end it cleanly: the summary reports it, and the next call continues.

    Args:
        jobs: number of concurrent runs.
        force: repeat every run.
        retry_failed: repeat failed runs. Runs that were killed from outside are repeated anyway.
        cache_dir: cache of prepared data.
        on_event: called in this thread with each event.
        execute: the function that executes a run, as ``module:function``.
        measure: the function that times one.

    Raises:
        InputError: ``out`` cannot be written to, or data is missing.
    """
    store = opened(out)
    specs = list({spec.key: spec for spec in plan}.values())
    stored = {spec.key: store.named(spec) for spec in specs}
    missing = [spec for spec in specs if force or wanted(stored[spec.key], retry_failed)]
    job = Job(
        store=store,
        invocation=new_invocation(),
        execute=execute,
        measure=measure,
        cache_dir=cache_dir,
        jobs=jobs,
        retries=suite.executor.retries,
    )
    watch = on_event or (lambda event: None)
    with termination_as_interrupt():
        work = bool(missing) or bool(unmeasured(store, specs))
        tally = _Tally(watch, Tracked(suite, store, specs, job.invocation, watch, work=work))
        try:
            _tell_what_is_stored(specs, missing, stored, tally)
            if work:
                _execute_and_measure(suite, job, specs, missing, stored, tally)
        except KeyboardInterrupt:
            tally.interrupted = True
        finally:
            _refresh_leaderboard(store, watch)
            tally.tracked.close(interrupted=tally.interrupted)
    return tally.summary()


def new_invocation() -> str:
    """A new ID for one call; IDs sort by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@dataclass
class _Tally:
    """Forwards events, counts results, and records them in MLflow."""

    watch: Callable[[Event], None]
    tracked: Tracked
    ended: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    lost: int = 0
    interrupted: bool = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunEnded):
            self.ended[event.result.status] += 1
            self.cached += event.cached
            if not event.cached:
                self.tracked.stored(event.result.key)
        self.watch(event)

    def summary(self) -> Summary:
        return Summary(
            done=self.ended["ok"],
            failed=self.ended["failed"] + self.lost,
            infeasible=self.ended["infeasible"],
            cached=self.cached,
            interrupted=self.interrupted,
        )


def opened(out: Path | str) -> Store:
    """Open the store under ``out`` and remove leftovers of dead processes.

    Raises:
        InputError: the store cannot be written to.
    """
    store = Store(out)
    try:
        store.runs.mkdir(parents=True, exist_ok=True)
        store.sweep()
    except OSError as error:
        raise InputError(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None
    return store


def _tell_what_is_stored(
    specs: Sequence[RunSpec], missing: Sequence[RunSpec], stored: Mapping[str, Result | None], tally: _Tally
) -> None:
    again = {spec.key for spec in missing}
    for spec in specs:
        if spec.key not in again and (result := stored[spec.key]) is not None:
            tally(RunEnded(result, cached=True))


def _execute_and_measure(
    suite: Suite,
    job: Job,
    specs: Sequence[RunSpec],
    missing: Sequence[RunSpec],
    stored: Mapping[str, Result | None],
    tally: _Tally,
) -> None:
    preload = {"sharkbench.runner.worker", *(name.partition(":")[0] for name in (job.execute, job.measure))}
    threads = max((spec.train.cores for spec in specs), default=1)
    with executor_of(suite.executor, sorted(preload), threads=threads) as processes:
        schedule = Schedule(job, processes, stored, tally)
        try:
            if missing:
                processes.prepare()
                ready, without_room = with_data(missing, schedule, job.cache_dir)
                tally.lost += without_room
                schedule.run(ready)
        finally:
            tally.lost += schedule.lost
        if not schedule.lost and (slow := unmeasured(job.store, specs)):
            tally.tracked.drain()
            try:
                measure_all(job, slow, processes, tally)
            except OSError as error:
                tally(Message(f"measuring has stopped ({one_line(error)}); the next call goes on with it"))


def wanted(result: Result | None, retry_failed: bool = False) -> bool:
    """Whether a run is to be executed, given its stored result."""
    if result is None or result.kind == "killed":
        return True
    return retry_failed and result.status == "failed"


def with_data(specs: Sequence[RunSpec], schedule: Schedule, cache_dir: Path | None) -> tuple[list[RunSpec], int]:
    """The runs whose data could be prepared, and the number of runs without room for their data; all others are stored
    as failed, for any error.

    Raises:
        OSError: the disk is full or read-only, which is not an error of a data set.
    """
    failed: dict[str, tuple[FailureKind, str, str]] = {}
    without_room: set[str] = set()
    for spec in {spec.fingerprint: spec for spec in specs}.values():
        try:
            if not prepared_path(spec.dataset, cache_dir).is_dir():
                prepare(spec.dataset, cache_dir)
        except StorageError as error:  # not the runs' fault: the next call executes them
            without_room.add(spec.fingerprint)
            schedule.tell(Message(str(error)))
        except Exception as error:
            if is_storage_error(error):
                raise
            log = "" if isinstance(error, SharkbenchError) else traceback.format_exc()
            kind: FailureKind = "out of memory" if kind_of(error) == "out of memory" else "data"
            failed[spec.fingerprint] = kind, one_line(error), log
    for spec in specs:
        if spec.fingerprint in failed:
            schedule.fail(spec, *failed[spec.fingerprint])
    ready = [spec for spec in specs if spec.fingerprint not in failed.keys() | without_room]
    return ready, sum(spec.fingerprint in without_room for spec in specs)


def _refresh_leaderboard(store: Store, watch: Callable[[Event], None]) -> None:
    try:
        leaderboard.write(store.out)
    except OSError as error:
        watch(Message(f"{store.out}: the leaderboard cannot be written ({error.strerror}); the results are stored"))


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, if this is the thread that receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
