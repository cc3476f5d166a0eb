"""Suggests the same for the same trial, whatever was drawn before in this process.

A search that is killed between two suggestions finds the first one in its study, and asks for the second only: a stream
of random numbers for both would then give another second one.
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
    """Optuna's TPE, with random numbers of their own for every parameter that is drawn by itself.

    Args:
        name: of the trial; what is suggested depends on it, on the parameter and on the trials that have ended.
        startup: so many trials are drawn evenly.
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
