"""The best settings at one budget: the primary metric on validation, with hopeless trials given up on the way."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sharkbench.results.records import Epoch
from sharkbench.search.space import Configuration
from sharkbench.search.study import DEFAULT, Direction, Finished, Proposal, Search
from sharkbench.search.trials import Outcome, Running
from sharkbench.suite.run import RunSpec

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STAGES = "stages"
"""User attribute of a study: names of training stages in the order in which they were first seen."""
_STAGE_LENGTH = 10_000
_SETTLED = 3
"""So many trials must have ended, and have been at the same epoch of the same stage, before one is given up."""


class PerBudget(Search):
    """Makes the primary metric on validation better at ``budget``; without one for a method that takes none."""

    mode = "per_budget"
    decides_by_state = ("tune", "pruning")

    def propose(self) -> Proposal | None:
        if not self._begun:
            return Proposal(self.space.defaults(), default=True)
        return None if self.space.empty else Proposal({})

    def configure(self, trial: optuna.Trial) -> Configuration:
        default = bool(trial.user_attrs.get(DEFAULT, False))
        return self.space.configuration(trial, self.budget, default=default)

    def directions(self) -> tuple[Direction, ...]:
        return (self.towards_better,)

    def values(self, outcome: Outcome) -> list[float]:
        return [outcome.value]

    def best(self) -> Finished | None:
        ok = [trial for trial in self.finished if trial.outcome.status == "ok"]
        return max(ok, key=self.score, default=None)

    def epoch(self, running: Running, spec: RunSpec, epoch: Epoch) -> bool:
        """Only the first seed's epochs count, and no trial with the suite's own settings is given up."""
        return self._counts(running, spec) and not running.partly and self._hopeless(running, epoch)

    def look_back(self, running: Running, spec: RunSpec, history: Sequence[Epoch]) -> bool:
        return self._counts(running, spec) and any(self._hopeless(running, epoch) for epoch in history)

    def _counts(self, running: Running, spec: RunSpec) -> bool:
        return self.asked.pruning and spec.seed == self.asked.seeds[0] and not running.stopped

    def _hopeless(self, running: Running, epoch: Epoch) -> bool:
        """Judged by what the present stage had come to by then, so that the verdict is the same whenever it is asked
        for; it depends on the trials that have ended besides."""
        # Stages are told apart by name: methods differ in them.
        stages: list[str] = self.study.user_attrs.get(STAGES, [])
        if epoch.stage not in stages:
            stages = [*stages, epoch.stage]
            self.study.set_user_attr(STAGES, stages)
        first = stages.index(epoch.stage) * _STAGE_LENGTH
        now = first + epoch.epoch
        if now in running.judged:  # by what was known then
            return False
        running.judged.add(now)
        if now not in self._trial(running).intermediate_values:
            running.trial.report(self.metric.mean(epoch.valid), now)
        if running.trial.user_attrs.get(DEFAULT, False):
            return False
        then = copy.copy(self._trial(running))
        then.intermediate_values = {at: value for at, value in then.intermediate_values.items() if first <= at <= now}
        return self.study.pruner.prune(self.study, then)

    def _trial(self, running: Running) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[running.number]

    def _pruner(self) -> optuna.pruners.BasePruner:
        from optuna.pruners import MedianPruner, NopPruner

        if not self.asked.pruning:
            return NopPruner()
        return MedianPruner(n_startup_trials=_SETTLED, n_min_trials=_SETTLED)
