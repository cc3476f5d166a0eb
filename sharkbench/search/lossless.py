"""The smallest lossless table: bisection on the logarithm of the budget.

Validation quality is assumed to decrease with the budget below the smallest sufficient budget; above it, no assumption
is made. The cost of a wrong decision due to noise is limited by the noise: every later probe is close to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, Literal

from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.results.records import REFERENCE, Result
from sharkbench.results.store import Store
from sharkbench.runner.local import wanted
from sharkbench.search.space import Configuration, rounded
from sharkbench.search.study import Direction, Finished, Proposal, Search
from sharkbench.search.trials import Cell, Outcome
from sharkbench.suite.entries import MethodEntry
from sharkbench.suite.run import RunSpec

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

CONFIDENCE = 0.95
_STEP_DOWN = 4.0
"""While no budget is sufficient, the next budget is smaller by this factor."""
_LOSS = "loss beyond the tolerance"


@dataclass(frozen=True)
class Probe:
    """A budget that was tried, as a fraction of the fp32 table.

    Attributes:
        used: the fraction that its table actually takes.
        excess: loss beyond the tolerance; sufficient if not above zero, infinite if there is no table.
    """

    budget: float
    used: float
    excess: float


def next_budget(probes: Sequence[Probe], between: tuple[float, float], precision: float) -> float | None:
    """The next budget to try; ``None`` once the smallest sufficient budget is known, or there seems to be none.

    Args:
        between: the smallest and the largest budget.
        precision: relative precision of the result.
    """
    low, high = between
    if not probes:
        return high
    good = smallest(probes)
    if good is None:
        return _further_down(probes, low)
    # A table that takes less than its budget is the same for every budget down to what it takes.
    upper = min(good.budget, good.used)
    lower = max([low, *(probe.budget for probe in probes if probe.budget < good.budget)])
    if upper / lower <= 1 + precision:
        return None
    middle = rounded(math.sqrt(lower * upper), low, high)
    return None if any(probe.budget == middle for probe in probes) else middle


def smallest(probes: Sequence[Probe]) -> Probe | None:
    """The probe with the smallest sufficient table."""
    return min((p for p in probes if p.excess <= 0), key=lambda probe: (probe.used, probe.budget), default=None)


def _further_down(probes: Sequence[Probe], low: float) -> float | None:
    """The next smaller budget while none is sufficient (a large table may overfit); ``None`` if results get worse."""
    falling = sorted(probes, key=lambda probe: -probe.budget)
    worse = [later.excess >= earlier.excess for earlier, later in pairwise(falling)]
    budget = falling[-1].budget / _STEP_DOWN
    if budget < low or worse[-2:] == [True, True] or (math.isinf(falling[-1].excess) and len(falling) > 1):
        return None
    return rounded(budget, low, 1.0)


def excess(full: Mapping[int, float], own: Mapping[int, float], tolerance: float | Literal["not_worse"]) -> float:
    """Loss beyond the tolerance, paired by seed.

    Args:
        full, own: scores by seed of the full-precision table and of the compressed one, higher being better.
        tolerance: the largest mean loss; or ``not_worse``: the lower end of the one-sided 95% interval of the loss (t
            distribution) is not above zero.
    """
    losses = [full[seed] - score for seed, score in own.items()]
    if tolerance != "not_worse":
        return mean(losses) - tolerance
    from scipy.stats import t

    spread = stdev(losses) / math.sqrt(len(losses))
    return float(mean(losses) - t.ppf(CONFIDENCE, len(losses) - 1) * spread)


class Reference:
    """The full-precision table of a cell with the seeds of the search, with which all methods are compared."""

    def __init__(self, cell: Cell) -> None:
        assert cell.suite.search is not None
        self.cell = cell
        self.method = registry.parse(REFERENCE)
        self.specs = cell.specs(Configuration(self.method, None), cell.suite.search.seeds, label=self.method.name)
        self.results: dict[str, Result] = {}

    def add(self, result: Result) -> None:
        """Add the result of one of its runs."""
        self.results[result.key] = result

    def remember(self, store: Store) -> None:
        """Take the results of an earlier search that would not be repeated."""
        for spec in self.specs:
            result = store.get(spec.key)
            if result is not None and not wanted(result):
                self.add(result)

    @property
    def waiting(self) -> list[RunSpec]:
        """Runs that have not ended."""
        return [spec for spec in self.specs if spec.key not in self.results]

    @property
    def values(self) -> dict[int, float]:
        """The primary metric on validation, mean over labels, by seed."""
        ok = [result for result in self.results.values() if result.status == "ok"]
        return {result.seed: self.cell.metric.mean(result.quality_valid) for result in ok}

    @property
    def reason(self) -> str | None:
        """Reason why there is no reference to compare methods with."""
        return next((r.reason or r.status for r in self.results.values() if r.status != "ok"), None)


class Lossless(Search):
    """Minimizes bytes under the constraint that the validation loss is within the tolerance."""

    mode = "lossless"
    decides_by_state = ("between", "tolerance", "precision")

    def __init__(self, cell: Cell, entry: MethodEntry, storage: BaseStorage | str, reference: Reference) -> None:
        self.reference = reference
        super().__init__(cell, entry, storage)

    def ready(self) -> bool:
        return not self.running and not self.reference.waiting

    def propose(self) -> Proposal | None:
        if self.reference.reason is not None:
            return None
        if not self.entry.spec.budgeted:
            return None if self.finished else Proposal({}, default=True)
        budget = next_budget(self.probes(), self.asked.between, self.asked.precision)
        return Proposal({"budget": budget}, default=True) if budget is not None else None

    def configure(self, trial: optuna.Trial) -> Configuration:
        if not self.entry.spec.budgeted:
            return Configuration(self.entry.spec, None)
        low, high = self.asked.between
        return Configuration(self.entry.spec, Budget(fraction=trial.suggest_float("budget", low, high, log=True)))

    def directions(self) -> tuple[Direction, ...]:
        return ("minimize",)

    def values(self, outcome: Outcome) -> list[float]:
        return [float(outcome.bytes)]

    def constraints(self, outcome: Outcome) -> dict[str, float]:
        return {_LOSS: self.excess(outcome) if outcome.values.keys() <= self.reference.values.keys() else 1.0}

    def excess(self, outcome: Outcome) -> float:
        full, own = (
            {seed: self.metric.score(value) for seed, value in values.items()}
            for values in (self.reference.values, outcome.values)
        )
        return excess(full, own, self.asked.tolerance)

    def probes(self) -> list[Probe]:
        """The finished probes, by budget."""
        return [probe for trial in self.finished if (probe := self._probe(trial))]

    def best(self) -> Finished | None:
        good = [t for t in self.finished if t.outcome.status == "ok" and self._known(t) and self.excess(t.outcome) <= 0]
        return min(good, key=lambda trial: trial.outcome.bytes, default=None)

    def _known(self, trial: Finished) -> bool:
        return trial.outcome.values.keys() <= self.reference.values.keys()

    def _probe(self, trial: Finished) -> Probe | None:
        budget: Any = (
            trial.configuration.budget.fraction if trial.configuration and trial.configuration.budget else None
        )
        if budget is None:
            return None
        if trial.outcome.status != "ok":
            return Probe(budget, budget, math.inf)
        return Probe(budget, trial.outcome.bytes_ratio, self.excess(trial.outcome))
