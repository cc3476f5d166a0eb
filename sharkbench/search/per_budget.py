"""The best settings at one budget by the primary metric on validation; hopeless trials are stopped early."""

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
"""Number of trials that must have ended and passed the same epoch of the same stage before a trial is stopped."""


class PerBudget(Search):
    """Optimizes the primary metric on validation at ``budget``, or without one for a method without a budget."""

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
        """Only the first seed's epochs count; trials with the suite's own settings are never stopped."""
        return self._counts(running, spec) and not running.partly and self._hopeless(running, epoch)

    def look_back(self, running: Running, spec: RunSpec, history: Sequence[Epoch]) -> bool:
        return self._counts(running, spec) and any(self._hopeless(running, epoch) for epoch in history)

    def _counts(self, running: Running, spec: RunSpec) -> bool:
        return self.asked.pruning and spec.seed == self.asked.seeds[0] and not running.stopped

    def _hopeless(self, running: Running, epoch: Epoch) -> bool:
        """Whether the trial is hopeless, by the results of the present stage up to this epoch, so that the answer does
        not depend on when it is computed; it also depends on the trials that have ended."""
        # Stages are distinguished by name: methods have different ones.
        stages: list[str] = self.study.user_attrs.get(STAGES, [])
        if epoch.stage not in stages:
            stages = [*stages, epoch.stage]
            self.study.set_user_attr(STAGES, stages)
        first = stages.index(epoch.stage) * _STAGE_LENGTH
        now = first + epoch.epoch
        if now in running.judged:  # by what was known at that time
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
