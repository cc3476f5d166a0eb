"""Conducts a search: requests trials when slots are free, runs them and reports results; then retrains the choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from sharkbench.errors import DataError, InputError
from sharkbench.results.records import Result
from sharkbench.results.store import Store
from sharkbench.runner.events import EpochEnded, Event, Message, RunEnded, RunStopped
from sharkbench.runner.local import EXECUTE, MEASURE, new_invocation, run_suite
from sharkbench.runner.session import Session, prepare_data, session
from sharkbench.search import storage
from sharkbench.search.events import SearchesOpened, SearchEvent, TrialEnded, TrialStarted
from sharkbench.search.lossless import Lossless, Reference
from sharkbench.search.outline import search_of, studies_of
from sharkbench.search.pareto import Pareto
from sharkbench.search.per_budget import PerBudget
from sharkbench.search.study import Finished, Search
from sharkbench.search.trials import Cell, Running, cells
from sharkbench.suite import filters
from sharkbench.suite.model import Suite
from sharkbench.suite.run import RunSpec

FOLDER = "search"
"""Folder in a suite's output directory for trials and studies, separate from the runs of the leaderboard."""


@dataclass(frozen=True)
class Choice:
    """A configuration chosen by a search, and its runs for the evaluation on the test split."""

    search: Search
    trial: Finished
    label: str
    specs: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Searched:
    """Results of a search, complete or interrupted."""

    suite: Suite
    out: Path
    invocation: str
    searches: tuple[Search, ...]
    references: tuple[Reference, ...]
    choices: tuple[Choice, ...]
    interrupted: bool

    @property
    def folder(self) -> Path:
        return self.out / FOLDER


def run_search(
    suite: Suite,
    out: Path | str,
    *,
    jobs: int = 1,
    cache_dir: Path | None = None,
    on_event: Callable[[SearchEvent], None] | None = None,
    execute: str = EXECUTE,
    measure: str = MEASURE,
) -> Searched:
    """Start or continue the search of ``suite`` until every study has used its allowance, then retrain the choices.

    Ctrl-C and SIGTERM end it cleanly; the next call continues. Trials are stored under ``<out>/search``, retrained
    choices among the suite's own runs under ``out``.

    Args:
        jobs: number of concurrent runs.
        on_event: called in this thread with each event.
        execute: the function that executes a run, as ``module:function``.
        measure: the function that times one.

    Raises:
        InputError: the suite searches for nothing, ``out`` cannot be written to, data is not there, or another process
            is searching there.
        DataError: no data set can be encoded; where only some cannot, the others are searched.
    """
    out, watch = Path(out), on_event or (lambda event: None)
    planned, found = studies_of(suite), cells(suite, cache_dir)
    store = Store(out / FOLDER)
    with _alone(store):
        bad = prepare_data([spec for cell in found for spec in Reference(cell).specs], cache_dir)
        for reason in bad.values():
            watch(Message(reason))
        found = [cell for cell in found if cell.fingerprint not in bad]
        if not found:
            raise DataError("; ".join(bad.values()))
        kept = storage.storage(search_of(suite).storage, out / FOLDER)
        by_place = {(cell.dataset.spec.name, cell.backbone.spec.name): cell for cell in found}
        references = {place: Reference(cell) for place, cell in by_place.items()}
        for reference in references.values():
            reference.remember(store)
        searches: list[Search] = []
        for study in planned:
            place = study.dataset.spec.name, study.backbone.spec.name
            if place not in by_place:
                continue  # its data could not be encoded
            cell, entry = by_place[place], study.entry
            if study.mode == "lossless":
                searches.append(Lossless(cell, entry, kept, references[place]))
            elif study.mode == "per_budget":
                searches.append(PerBudget(cell, entry, kept, budget=study.budget))
            else:
                searches.append(Pareto(cell, entry, kept))
        watch(SearchesOpened(tuple(searches)))
        needed = tuple(references.values()) if "lossless" in search_of(suite).modes else ()
        invocation = new_invocation()
        conductor = Conductor(searches, needed, watch)
        how: dict[str, Any] = {"cache_dir": cache_dir, "execute": execute, "measure": measure}
        interrupted = False
        try:
            where: dict[str, Any] = {"executor": suite.executor, "threads": suite.train.threads}
            with session(out / FOLDER, conductor.hear, jobs=jobs, invocation=invocation, **where, **how) as at_work:
                conductor.run(at_work)
                interrupted = bool(at_work.lost)
        except KeyboardInterrupt:
            interrupted = True
        choices = tuple(choice for search in searches for choice in choices_of(search))
        if search_of(suite).retrain and choices and not interrupted:
            plan = [spec for reference in needed for spec in full_again(reference.cell)]
            plan += [spec for choice in choices for spec in choice.specs]
            interrupted = run_suite(suite, plan, out, jobs=jobs, on_event=watch, **how).interrupted
        return Searched(suite, out, invocation, tuple(searches), needed, choices, interrupted)


def choices_of(search: Search) -> list[Choice]:
    """The choices of a search, to be run with the suite's own seeds on the test split."""
    chosen, choices = search.chosen(), []
    for number, trial in enumerate(chosen, 1):
        assert trial.configuration is not None
        alike = len(chosen) > 1 and trial.configuration.budget is None
        label = f"{search.entry.label} [{search.mode}{f' {number}' if alike else ''}]"
        suite = search.cell.suite
        specs = search.cell.specs(
            trial.configuration, suite.seeds, label=label, judged_on="test", measure=suite.measure
        )
        choices.append(Choice(search, trial, label, tuple(specs)))
    return choices


def full_again(cell: Cell) -> list[RunSpec]:
    """The full-precision table with the suite's seeds."""
    reference = Reference(cell)
    found = [
        spec.model_copy(update={"judged_on": "test", "measure": cell.suite.measure}) for spec in reference.specs[:1]
    ]
    return [filters.timed(spec.model_copy(update={"seed": seed})) for spec in found for seed in cell.suite.seeds]


@dataclass
class Conductor:
    """Gives runs to a session and passes their results to the trials that wait for them.

    Two trials, of one search or of two, may wait for the same run.
    """

    searches: Sequence[Search]
    references: Sequence[Reference]
    watch: Callable[[SearchEvent], None]
    _waiting: dict[str, list[Running | Reference]] = field(default_factory=dict)
    _of: dict[int, Search] = field(default_factory=dict)
    """Search of each running trial, by the trial's identity."""
    _untimed: list[Running] = field(default_factory=list)
    _wanted_after_all: list[RunSpec] = field(default_factory=list)
    _session: Session | None = None

    def run(self, session: Session) -> None:
        """Run until every search is over, or nothing can be stored any more."""
        self._session = session
        while True:
            session.run(self.ask)
            if not self._untimed or session.lost:
                return
            timed, self._untimed = self._untimed, []
            session.measure([spec for running in timed for spec in running.specs])
            for running in timed:
                running.speeds = {spec.key: session.store.speed(spec.key) for spec in running.specs}
                self._end(running)

    def ask(self, slots: int) -> list[RunSpec]:
        """The next runs. None while finished runs wait to be timed, because nothing else may run during timing."""
        specs, self._wanted_after_all = self._wanted_after_all, []
        specs += [spec for reference in self.references for spec in self._wait_for(reference, reference.waiting)]
        while len(specs) < slots and not self._untimed:
            # Modes in order; within a mode, all methods progress equally.
            turn = sorted(self.searches, key=lambda s: (self._rank[s.mode], len(s.running), len(s.finished)))
            for search in turn:
                if running := search.ask():
                    break
            else:
                break
            specs += self._begin(search, running)
        return specs

    def hear(self, event: Event) -> None:
        """Handle an event of a run."""
        self.watch(event)
        if isinstance(event, RunEnded):
            for waiting in self._waiting.pop(event.result.key, ()):
                waiting.add(event.result)
                if isinstance(waiting, Running):
                    self._look_back(waiting, event.result)
                self._look_at(waiting)
        elif isinstance(event, RunStopped):
            self._stopped(event)
        elif isinstance(event, EpochEnded):
            self._judge(event)

    @property
    def _rank(self) -> dict[str, int]:
        return {mode: rank for rank, mode in enumerate(dict.fromkeys(search.mode for search in self.searches))}

    def _wait_for(self, waiting: Running | Reference, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Register a trial as waiting for ``specs``; returns those that are not running already."""
        new = []
        for spec in specs:
            if spec.key not in self._waiting:
                new.append(spec)
            others = self._waiting.setdefault(spec.key, [])
            if waiting not in others:
                others.append(waiting)
        return new

    def _begin(self, search: Search, running: Running) -> list[RunSpec]:
        self._of[id(running)] = search
        self.watch(TrialStarted(search, running))
        running.pending = {spec.key for spec in running.specs}
        assert self._session is not None
        running.partly = any(self._session.store.checkpoints(spec.key).exists() for spec in running.specs)
        new = self._wait_for(running, running.specs)
        if not running.pending:
            self._end(running)
        return new

    def _look_at(self, waiting: Running | Reference) -> None:
        if isinstance(waiting, Reference) or waiting.pending:
            return
        if (
            self._of[id(waiting)].measure.lookup
            and not waiting.stopped
            and all(result.status == "ok" for result in waiting.results.values())
        ):
            self._untimed.append(waiting)
        else:
            self._end(waiting)

    def _stopped(self, event: RunStopped) -> None:
        """Handle a stopped run: a trial that started to wait for it after the stop still needs it."""
        key = event.spec.key
        others = self._waiting.pop(key, [])
        if left := [waiting for waiting in others if isinstance(waiting, Reference) or not waiting.stopped]:
            self._waiting[key] = left
            self._wanted_after_all.append(event.spec)
        for waiting in others:
            if isinstance(waiting, Running) and waiting.stopped:
                waiting.seconds += event.seconds
                waiting.pending.discard(key)
                self._look_at(waiting)

    def _judge(self, event: EpochEnded) -> None:
        """Judge a trial after an epoch; a run that other trials also wait for is not stopped."""
        waiting = self._waiting.get(event.key, [])
        running = waiting[0] if len(waiting) == 1 else None
        if not isinstance(running, Running):
            return
        [spec] = [spec for spec in running.specs if spec.key == event.key]
        if self._of[id(running)].epoch(running, spec, event.epoch):
            self._give_up(running)

    def _look_back(self, running: Running, result: Result) -> None:
        """Judge a run that was stored before a kill as without the kill: epoch by epoch."""
        [spec] = [spec for spec in running.specs if spec.key == result.key]
        if self._of[id(running)].look_back(running, spec, result.history):
            self._give_up(running)

    def _give_up(self, running: Running) -> None:
        running.stopped = True
        assert self._session is not None
        for key in [key for key in running.pending if len(self._waiting[key]) == 1]:
            self._session.stop(key)

    def _end(self, running: Running) -> None:
        search = self._of.pop(id(running))
        self.watch(TrialEnded(search, search.tell(running)))


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    try:
        lock = store.lock("search")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{store.out}: another sharkbench is searching here; wait for it, or name another --out"
        ) from None
    except OSError as error:
        raise InputError(f"{store.out}: cannot be written to ({error.strerror}); choose another --out") from None
    try:
        yield
    finally:
        lock.release()
