"""Executes the runs of a plan concurrently, each in its own process; stores each result at once."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from sharkbench.files.durable import write_text
from sharkbench.results.records import Epoch, FailureKind, Result
from sharkbench.results.store import CODE, ENVIRONMENT, LOG, RESULT, SPEC
from sharkbench.runner.events import EpochEnded, Event, Message, RunEnded, RunStarted, RunStopped
from sharkbench.runner.executors import Executor
from sharkbench.runner.failures import kind_of_exit, one_line
from sharkbench.runner.job import Job
from sharkbench.runner.outcome import failed
from sharkbench.runner.processes import Worker
from sharkbench.suite.costs import Costs
from sharkbench.suite.run import RunSpec

_POLL_SECONDS = 0.5
_ABORT_SECONDS = 3.0


@dataclass(eq=False)
class _Waiting:
    spec: RunSpec
    full_key: str | None = None
    """Key of the full-precision model that it may use or train."""

    def __post_init__(self) -> None:
        if self.spec.method.takes == "model" or not self.spec.method.budgeted:
            self.full_key = self.spec.full_key


@dataclass
class _Active:
    spec: RunSpec
    full_key: str | None
    directory: Path
    lock: FileLock
    worker: Worker
    started: str = field(default_factory=lambda: now())
    aborted: float | None = None
    storage: str | None = None
    unwanted: bool = False

    @property
    def end(self) -> float | None:
        """Time at which its time limit ends."""
        began, timeout = self.worker.began, self.spec.timeout
        return None if began is None or timeout is None else began + timeout


def now() -> str:
    """The current time in the form of results."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _name(spec: RunSpec) -> str:
    return f"{spec.dataset.name} {spec.backbone.name} {spec.method_label} seed {spec.seed}"


class Schedule:
    """Executes runs. If another process works on a run, the schedule waits for it instead of repeating it.

    Without concurrency, runs are executed in the given order. With it, runs whose full-precision model others wait for
    are first, then the longest by estimates from similar runs, so that none is left to run alone at the end; runs
    without an estimate count as long.

    Args:
        stored: content of the store when these runs were selected.
        tell: called with events.
    """

    def __init__(
        self, job: Job, processes: Executor, stored: Mapping[str, Result | None], tell: Callable[[Event], None]
    ) -> None:
        self.job, self.processes, self.stored, self.tell = job, processes, stored, tell
        self.active: dict[int, _Active] = {}
        self.lost = 0
        """Number of runs whose result could not be written. Nothing is started after the first."""
        self.waiting: list[_Waiting] = []
        self._costs = Costs(result for result in stored.values() if result is not None)
        self._have_full_model: set[str] = set()
        self._told_of_others = False
        self._attempts: Counter[str] = Counter()

    def run(self, specs: Iterable[RunSpec], more: Callable[[int], Sequence[RunSpec]] = lambda slots: ()) -> None:
        """Execute all ``specs``; returns when the last one is stored, or when nothing can be stored any more.

        Args:
            more: called for up to the given number of further runs whenever fewer are waiting than could be started.
        """
        self.waiting = [_Waiting(spec) for spec in specs]
        try:
            while True:
                free = self.job.jobs - len(self.active) - len(self.waiting)
                if free > 0 and not self.lost:
                    self.waiting += [_Waiting(spec) for spec in more(free)]
                if not self.active and (not self.waiting or self.lost):
                    return
                self._start_what_can_start()
                if not self.active:
                    if self.waiting and not self.lost:
                        time.sleep(_POLL_SECONDS)  # other processes work on all remaining runs
                    continue
                for worker in self.processes.wait(self._patience(bool(self.waiting))):
                    self._attend(self.active[worker.number])
                self._stop_what_takes_too_long()
        finally:
            if self.active:
                self.processes.close()
            for active in self.active.values():
                self._discard(active)

    def stop(self, key: str) -> None:
        """Stop a run, started or not; sends :class:`RunStopped`, or its result if it ended before."""
        for one in [one for one in self.waiting if one.spec.key == key]:
            self.waiting.remove(one)
            self.tell(RunStopped(one.spec, 0.0))
        for active in self.active.values():
            if active.spec.key == key and active.worker.exit_code is None:
                active.unwanted = True
                self.processes.kill(active.worker)

    def fail(self, spec: RunSpec, kind: FailureKind, reason: str, log: str = "") -> None:
        """Store a run that never got a process as failed; ``log`` has more details than ``reason``."""
        with self.job.store.lock(spec.key):
            directory = self._new_directory(spec)
            (directory / LOG).write_text(log or reason + "\n", encoding="utf-8")
            self._publish(failed(spec, kind, reason, started=now(), seconds=0.0), directory)

    def _start_what_can_start(self) -> None:
        if len(self.active) >= self.job.jobs:
            return
        for one in self._most_urgent_first():
            if len(self.active) >= self.job.jobs or self.lost:
                return
            if one not in self.waiting or self._needs_what_another_makes(one):  # an observer of events may stop runs
                continue
            lock = self.job.store.lock(one.spec.key)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._tell_of_others()
                continue
            except OSError as error:
                self._give_up(one.spec, one_line(error))
                return
            self.waiting.remove(one)
            if not self._done_by_another(one.spec):
                self._start(one, lock)
            else:
                lock.release()

    def _most_urgent_first(self) -> list[_Waiting]:
        if self.job.jobs == 1:
            return list(self.waiting)
        sharing: dict[str, list[_Waiting]] = defaultdict(list)
        for one in self.waiting:
            if one.full_key is not None and one.full_key not in self._have_full_model:
                sharing[one.full_key].append(one)
        makers = {several[0] for several in sharing.values() if len(several) > 1}

        def urgency(one: _Waiting) -> tuple[bool, float]:
            seconds = self._costs.guess(one.spec)
            return one in makers, inf if seconds is None else seconds

        return sorted(self.waiting, key=urgency, reverse=True)

    def _tell_of_others(self) -> None:
        if not self._told_of_others:
            out = self.job.store.out
            self.tell(Message(f"another sharkbench is at work in {out}: no run is done twice, its own are waited for"))
            self._told_of_others = True

    def _needs_what_another_makes(self, one: _Waiting) -> bool:
        """Whether it would only wait for the full-precision model that a current run is training."""
        if one.full_key is None or one.full_key in self._have_full_model:
            return False
        return any(active.full_key == one.full_key for active in self.active.values())

    def _done_by_another(self, spec: RunSpec) -> bool:
        result = self.job.store.get(spec.key)
        if result is None or result == self.stored.get(spec.key):
            return False
        self.tell(RunEnded(result, cached=True))
        return True

    def _new_directory(self, spec: RunSpec) -> Path:
        directory = self.job.store.begin(spec.key)
        write_text(directory / SPEC, spec.model_dump_json(indent=1))
        return directory

    def _start(self, one: _Waiting, lock: FileLock) -> None:
        spec = one.spec
        try:
            directory = self._new_directory(spec)
            arguments = {
                "directory": str(directory),
                "shared": str(self.job.store.shared),
                "cache_dir": str(self.job.cache_dir) if self.job.cache_dir else None,
                "invocation": self.job.invocation,
                "execute": self.job.execute,
            }
            worker = self.processes.start("sharkbench.runner.worker:run", arguments, directory / LOG)
        except OSError as error:
            lock.release()
            self._give_up(spec, one_line(error))
            return
        self.active[worker.number] = _Active(spec, one.full_key, directory, lock, worker)
        self.tell(RunStarted(spec))

    def _patience(self, more: bool) -> float:
        """Seconds to wait for an event before checking timeouts and other processes' runs again."""
        ends = [end for active in self.active.values() if (end := active.end) is not None]
        limits = [end - time.monotonic() for end in ends]
        if more and len(self.active) < self.job.jobs:
            limits.append(_POLL_SECONDS)
        if any(a.aborted for a in self.active.values()):
            limits.append(_POLL_SECONDS)
        return max(0.0, min([*limits, 5.0]))

    def _attend(self, active: _Active) -> None:
        for event in active.worker.take_events():
            if "epoch" in event:
                self.tell(EpochEnded(active.spec.key, Epoch.model_validate(event["epoch"])))
            if "message" in event:
                self.tell(Message(event["message"]))
            active.storage = event.get("storage", active.storage)
        if active.worker.exit_code is not None:
            self._finish(active, active.worker.exit_code)

    def _finish(self, active: _Active, code: int) -> None:
        del self.active[active.worker.number]
        if active.full_key is not None:
            self._have_full_model.add(active.full_key)
        try:
            if active.storage is not None:
                self._give_up(active.spec, active.storage)
            else:
                result = self._result_in(active.directory, active.spec)
                if result is None and active.unwanted:
                    self.job.store.forget(active.spec.key)
                    began = active.worker.began
                    self.tell(RunStopped(active.spec, time.monotonic() - began if began else 0.0))
                else:
                    result = result or self._failure_of(active, code)
                    if result.kind == "killed" and self._attempts[active.spec.key] < self.job.retries:
                        self._again(active.spec, result.reason)
                    else:
                        self._publish(result, active.directory)
        except OSError as error:
            self._give_up(active.spec, one_line(error))
        finally:
            self._discard(active)

    def _again(self, spec: RunSpec, reason: str | None) -> None:
        self._attempts[spec.key] += 1
        turn = f"{self._attempts[spec.key]} of {self.job.retries}"
        self.tell(Message(f"{_name(spec)}: {reason}; it is done again ({turn} times)"))
        self.waiting.append(_Waiting(spec))

    def _result_in(self, directory: Path, spec: RunSpec) -> Result | None:
        try:
            result = Result.model_validate_json((directory / RESULT).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return result if result.key == spec.key else None

    def _failure_of(self, active: _Active, code: int) -> Result:
        kind: FailureKind
        if active.aborted is not None:
            kind, reason = "timeout", f"stopped after its timeout of {active.spec.timeout:g} s; see log.txt"
        else:
            log = active.directory / LOG
            tail = log.read_bytes()[-4096:].decode(errors="replace") if log.exists() else ""
            kind, reason = kind_of_exit(code, out_of_memory=active.worker.memory_ran_out, log=tail)
            reason = active.worker.lost or reason
        seconds = time.monotonic() - active.worker.began if active.worker.began else 0.0
        return failed(active.spec, kind, reason, started=active.started, seconds=seconds)

    def _publish(self, result: Result, directory: Path) -> None:
        if result.status != "ok":
            for file in directory.iterdir():
                if file.name not in (SPEC, ENVIRONMENT, CODE, LOG):
                    file.unlink()
        write_text(directory / RESULT, result.model_dump_json(indent=1))
        self.job.store.publish(directory, result.key)
        if result.kind != "killed":  # a killed run is repeated, and resumes from its checkpoint
            self.job.store.forget(result.key)
        self._costs.add(result)
        self.tell(RunEnded(result, cached=False))

    def _give_up(self, spec: RunSpec, reason: str) -> None:
        self.lost += 1
        self.tell(
            Message(
                f"{self.job.store.out}: the result of {_name(spec)} cannot be stored ({reason}), so nothing more is "
                "started; make room or make it writable, and run again"
            )
        )

    def _stop_what_takes_too_long(self) -> None:
        for active in self.active.values():
            time_now, end = time.monotonic(), active.end
            if active.aborted is not None and time_now > active.aborted + _ABORT_SECONDS:
                self.processes.kill(active.worker)
            elif active.aborted is None and end is not None and time_now > end:
                # This signal first: it leaves a traceback in the log that shows where the run was.
                active.aborted = time_now
                self.processes.kill(active.worker, signal.SIGABRT)

    def _discard(self, active: _Active) -> None:
        shutil.rmtree(active.directory, ignore_errors=True)
        active.lock.release()
