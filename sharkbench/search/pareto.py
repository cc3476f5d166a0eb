"""The Pareto front of the primary metric, bytes and (optionally) lookup time, and its hypervolume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sharkbench.contract.budget import Budget
from sharkbench.measure.spec import MeasureSpec
from sharkbench.search.space import Configuration, rounded
from sharkbench.search.study import DEFAULT, Direction, Finished, Proposal, Search
from sharkbench.search.trials import UNTIMED, Outcome

if TYPE_CHECKING:
    import optuna

_CHOSEN = 3
"""Number of tables of a front to retrain, evenly spread over its sizes."""


class Pareto(Search):
    """Optimizes the primary metric on validation and minimizes the other objectives. No trial is stopped early."""

    mode = "pareto"
    decides_by_state = ("tune", "objectives", "between")

    def propose(self) -> Proposal | None:
        if not self._begun:
            first = {"budget": self._first_budget()} if self.entry.spec.budgeted else {}
            return Proposal({**self.space.defaults(), **first}, default=True)
        return None if self.space.empty and not self.entry.spec.budgeted else Proposal({})

    def configure(self, trial: optuna.Trial) -> Configuration:
        budget = None
        if self.entry.spec.budgeted:
            low, high = self.asked.between
            fraction = trial.suggest_float("budget", low, high, log=True)
            budget = Budget(fraction=rounded(fraction, low, high))
        default = bool(trial.user_attrs.get(DEFAULT, False))
        return self.space.configuration(trial, budget, default=default)

    def values(self, outcome: Outcome) -> list[float]:
        found = {self.metric.name: outcome.value, "bytes": float(outcome.bytes), "lookup": outcome.lookup or math.inf}
        return [found[objective] for objective in self.asked.objectives]

    @property
    def measure(self) -> MeasureSpec:
        # Only at the data's own size, which is the objective.
        timed = self.cell.suite.measure.model_copy(update={"lookup": True, "only": (), "production_rows": 0})
        return timed if "lookup" in self.asked.objectives else UNTIMED

    def best(self) -> Finished | None:
        """The trial with the best primary metric."""
        return max(self.front(), key=self.score, default=None)

    def chosen(self) -> list[Finished]:
        front = self.front()
        if len(front) <= _CHOSEN:
            return front
        last = len(front) - 1
        return [front[round(i * last / (_CHOSEN - 1))] for i in range(_CHOSEN)]

    def front(self) -> list[Finished]:
        """Trials that no other trial dominates, from small to large."""
        ok = [trial for trial in self.finished if trial.outcome.status == "ok"]
        losses = {trial.number: self.losses(trial.outcome) for trial in ok}
        kept = [trial for trial in ok if not any(dominates(losses[o.number], losses[trial.number]) for o in ok)]
        unique = {losses[trial.number]: trial for trial in reversed(kept)}
        return sorted(unique.values(), key=lambda trial: trial.outcome.bytes)

    def losses(self, outcome: Outcome) -> tuple[float, ...]:
        """One loss per objective, smaller is better; bytes as a fraction of fp32."""
        quality = -self.metric.score(outcome.value)
        found = {self.metric.name: quality, "bytes": outcome.bytes_ratio, "lookup": outcome.lookup or math.inf}
        return tuple(found[objective] for objective in self.asked.objectives)

    def hypervolume(self, slowest: float = 1.0) -> float:
        """Volume dominated by the front, up to the corner of an uninformative model (or the worst trial if the metric
        has no chance value), the bytes of fp32, and ``slowest`` lookups."""
        worst = {self.metric.name: -self.metric.score(self.worst), "bytes": 1.0, "lookup": slowest}
        corner = tuple(worst[objective] for objective in self.asked.objectives)
        return hypervolume([self.losses(trial.outcome) for trial in self.front()], corner)

    @property
    def worst(self) -> float:
        """Worst value of the primary metric, for the hypervolume: chance, or else the worst trial."""
        if self.metric.chance is not None:
            return self.metric.chance
        ok = [trial for trial in self.finished if trial.outcome.status == "ok"]
        return min(ok, key=self.score).outcome.value if ok else 0.0

    def _first_budget(self) -> float:
        """The largest of the method's budgets within the range, else the largest of all."""
        low, high = self.asked.between
        stated = [b.fraction for b in self.cell.suite.budgets_of(self.entry) if b is not None]
        return max((fraction for fraction in stated if fraction is not None and low <= fraction <= high), default=high)

    def directions(self) -> tuple[Direction, ...]:
        own = {self.metric.name: self.towards_better}
        return tuple(own.get(objective, "minimize") for objective in self.asked.objectives)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether ``one`` is in no component worse (larger) than ``other`` and better in at least one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def hypervolume(points: Sequence[Sequence[float]], corner: Sequence[float]) -> float:
    """Volume of the region between ``corner`` and at least one of ``points``, all to be minimized.

    Sliced along the last dimension; exact, and quick enough for the few points of a front.
    """
    inside = [tuple(p) for p in points if all(a < b for a, b in zip(p, corner, strict=True))]
    if not inside:
        return 0.0
    if len(corner) == 1:
        return corner[0] - min(point[0] for point in inside)
    levels = sorted({point[-1] for point in inside})
    volume = 0.0
    for level, above in zip(levels, [*levels[1:], corner[-1]], strict=True):
        below = [point[:-1] for point in inside if point[-1] <= level]
        volume += (above - level) * hypervolume(below, corner[:-1])
    return volume
