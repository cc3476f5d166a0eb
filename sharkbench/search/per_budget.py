"""The best settings at one budget: validation AUC, with hopeless trials given up on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharkbench.records import Epoch
from sharkbench.search.space import Configuration
from sharkbench.search.study import DEFAULT, Finished, Proposal, Search
from sharkbench.search.trials import Outcome, Running
from sharkbench.suite.run import RunSpec

if TYPE_CHECKING:
    import optuna

STAGES = "stages"
"""User attribute of a study: names of training stages in the order in which they were first seen."""
_STAGE_LENGTH = 10_000
_SETTLED = 3
"""So many trials must have ended, and have been at the same epoch of the same stage, before one is given up."""


class PerBudget(Search):
    """Maximizes validation AUC at ``budget``; without one for a method that takes none."""

    mode = "per_budget"
    decides_by_state = ("tune", "pruning")

    def propose(self) -> Proposal | None:
        if not self._begun:
            return Proposal(self.space.defaults(), default=True)
        return None if self.space.empty else Proposal({})

    def configure(self, trial: optuna.Trial) -> Configuration:
        default = bool(trial.user_attrs.get(DEFAULT, False))
        return self.space.configuration(trial, self.budget, default=default)

    def values(self, outcome: Outcome) -> list[float]:
        return [outcome.auc]

    def best(self) -> Finished | None:
        ok = [trial for trial in self.finished if trial.outcome.status == "ok"]
        return max(ok, key=lambda trial: trial.outcome.auc, default=None)

    def epoch(self, running: Running, spec: RunSpec, epoch: Epoch) -> bool:
        """Only the first seed's epochs count, and no trial with the suite's own settings is given up."""
        if not self.asked.pruning or spec.seed != self.asked.seeds[0] or running.stopped:
            return False
        # Stages are told apart by name: one that trains the shared full-precision model is missing where that is there.
        stages: list[str] = self.study.user_attrs.get(STAGES, [])
        if epoch.stage not in stages:
            stages = [*stages, epoch.stage]
            self.study.set_user_attr(STAGES, stages)
        auc = sum(epoch.valid_auc.values()) / len(epoch.valid_auc)
        running.trial.report(auc, stages.index(epoch.stage) * _STAGE_LENGTH + epoch.epoch)
        return not running.trial.user_attrs.get(DEFAULT, False) and running.trial.should_prune()

    def _pruner(self) -> optuna.pruners.BasePruner:
        from optuna.pruners import MedianPruner, NopPruner

        if not self.asked.pruning:
            return NopPruner()
        return MedianPruner(n_startup_trials=_SETTLED, n_min_trials=_SETTLED)
