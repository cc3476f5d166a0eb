"""A sampler whose suggestions for a trial do not depend on earlier draws in this process.

A search that is killed between two suggestions finds the first in its study and requests only the second: one random
stream for both would then give a different second suggestion.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def sampler(name: str, startup: int) -> BaseSampler:
    """Optuna's TPE, with a separate random number generator for every independently drawn parameter.

    Args:
        name: name of the trial; suggestions depend on it, on the parameter and on the trials that have ended.
        startup: number of initial trials that are drawn uniformly.
    """
    from optuna.samplers import TPESampler

    class EachOfItsOwn(TPESampler):
        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            alone = TPESampler(seed=_seed(f"{name}:{param_name}"), n_startup_trials=startup)
            return alone.sample_independent(study, trial, param_name, param_distribution)

    return EachOfItsOwn(seed=_seed(name), n_startup_trials=startup)


def _seed(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
