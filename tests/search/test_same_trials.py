"""A search that was killed comes to the trials that it would have come to: settings, epochs, verdicts.

Runs are done in this process, one at a time, and the kill is an exception that nothing catches, before or after a write
to the journal or to the store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from sharkbench.results.records import Epoch
from sharkbench.results.store import Store
from sharkbench.runner.events import EpochEnded, Event, RunEnded, RunStarted, RunStopped
from sharkbench.search import storage
from sharkbench.search.conduct import Conductor
from sharkbench.search.per_budget import PerBudget
from sharkbench.search.trials import cells
from sharkbench.suite.run import RunSpec
from tests.records import put
from tests.search import fakes
from tests.search.conftest import Bench

SEARCH = {
    "modes": ["per_budget"],
    "tune": ["learning_rate", "weight_decay", "dropout"],
    "trials": 8,
    "pruning": True,
    "methods": ["full", "hash"],
}
EVERY = 29
"""Of all moments, so many apart are tried, and all that come right after a run was stored."""


class Killed(BaseException):
    """Of a process: nothing catches it."""


class Moments:
    """Counts what is written; at the moment ``last`` the process dies."""

    def __init__(self) -> None:
        self.passed, self.last = 0, -1
        self.stored: list[int] = []

    def __call__(self, stored: bool = False) -> None:
        self.passed += 1
        self.stored += [self.passed] * stored
        if self.passed == self.last:
            raise Killed


class Inline:
    """What a conductor needs of a session: runs one after the other, each stored, or given up in an epoch.

    With ``quick`` a run that is given up has ended before it could be stopped, and is stored.
    """

    def __init__(self, folder: Path, moment: Moments, quick: bool) -> None:
        self.store, self.moment, self.quick, self.lost = Store(folder), moment, quick, 0
        self.tell: Callable[[Event], None] = lambda event: None
        self.unwanted: set[str] = set()
        self.taken: list[str] = []

    def run(self, ask: Callable[[int], list[RunSpec]]) -> None:
        while specs := ask(1):
            for spec in specs:
                self.do(spec)

    def do(self, spec: RunSpec) -> None:
        if (stored := self.store.get(spec.key)) is not None:
            self.taken.append(spec.key)
            self.tell(RunEnded(stored, cached=True))
            return
        self.tell(RunStarted(spec))

        def on_epoch(epoch: Epoch) -> None:
            if spec.key not in self.unwanted:
                self.tell(EpochEnded(spec.key, epoch))

        result = fakes.execute(
            spec, self.store.out, shared=self.store.shared, invocation="", cache_dir=None, on_epoch=on_epoch
        )
        if spec.key in self.unwanted and not self.quick:
            self.unwanted.discard(spec.key)
            self.tell(RunStopped(spec, 1.0))
            return
        self.moment()
        put(self.store, result)
        self.moment(stored=True)
        self.tell(RunEnded(result, cached=False))

    def stop(self, key: str) -> None:
        self.unwanted.add(key)


def searched(bench: Bench, moment: Moments, quick: bool = False) -> dict[str, list[FrozenTrial]]:
    """Go on with the search until it is over; its trials by study."""
    folder = bench.out / "search"
    folder.mkdir(parents=True, exist_ok=True)
    suite, kept = bench.suite(**SEARCH), storage.storage("", folder)
    [cell] = cells(suite, bench.cache)
    hash_entry = next(entry for entry in suite.methods if entry.label == "hash")
    searches = [PerBudget(cell, hash_entry, kept, budget=budget) for budget in suite.budgets_of(hash_entry)]
    session = Inline(folder, moment, quick)
    conductor = Conductor(searches, (), lambda event: None)
    session.tell = conductor.hear
    conductor.run(session)  # type: ignore[arg-type]
    return {search.study.study_name: search.study.trials for search in searches}


def timeless(trials: dict[str, list[FrozenTrial]]) -> Any:
    def outcome(trial: FrozenTrial) -> dict[str, Any]:
        return {name: value for name, value in trial.user_attrs["outcome"].items() if name != "seconds"}

    return {
        name: [(t.number, t.state, t.params, t.intermediate_values, t.values, outcome(t)) for t in found]
        for name, found in trials.items()
    }


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moments:
    counted, append = Moments(), JournalFileBackend.append_logs

    def appended(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        counted()
        append(self, logs)
        counted()

    monkeypatch.setattr(JournalFileBackend, "append_logs", appended)
    return counted


@pytest.mark.parametrize("quick", [False, True])
def test_killed_at_any_moment_it_comes_to_the_same_trials(quick: bool, tmp_path: Path, moment: Moments) -> None:
    undisturbed = timeless(searched(Bench(tmp_path / "undisturbed"), moment, quick))
    states = [trial[1] for found in undisturbed.values() for trial in found]
    assert {TrialState.COMPLETE, TrialState.PRUNED} <= set(states), "the example has nothing to get wrong"
    moments, stored = moment.passed, moment.stored.copy()
    for last in sorted({*range(2, moments, EVERY), *(stored if quick else ())}):
        bench = Bench(tmp_path / f"killed at {last}")
        moment.passed, moment.last = 0, last
        with pytest.raises(Killed):
            searched(bench, moment, quick)
        moment.last = -1
        assert timeless(searched(bench, moment, quick)) == undisturbed, f"killed at moment {last} of {moments}"


def test_killed_again_and_again_it_comes_to_the_same_trials(tmp_path: Path, moment: Moments) -> None:
    undisturbed = timeless(searched(Bench(tmp_path / "undisturbed"), moment))
    bench = Bench(tmp_path / "killed")
    for last in (31, 1, 17, 2, 23, 3):
        moment.passed, moment.last = 0, last
        with pytest.raises(Killed):
            searched(bench, moment)
    moment.last = -1
    assert timeless(searched(bench, moment)) == undisturbed
