"""The resolution of a test split: the smallest difference of a metric that is significant with its units.

A metric is an average over sampled units: rows, pairs of a positive and a negative row, users. Another sample would
give another value. Two models are evaluated on the same units, so the standard error of their difference follows from
the contributions of each unit to both (for pairs of rows: DeLong, DeLong and Clarke-Pearson, Biometrics 1988). A run
stores these contributions by blocks of units, the same for every run on the same data
(:class:`~sharkbench.results.metrics.Parts`). Blocks keep the correlation of two models and estimate the same variance
as single units do, with less certainty: with 100 blocks the standard error is within 7% of that two times in three.
Units count as independent samples; if the units are rows and one user has many, the true resolution is coarser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sharkbench.leaderboard.statistics import CONFIDENCE
from sharkbench.results.metrics import Parts

Z = float(special.ndtri((1 + CONFIDENCE) / 2))


def standard_error(own: Sequence[Parts], other: Sequence[Parts] = ()) -> float | None:
    """Standard error, over samples of test units, of the mean metric of ``own`` minus that of ``other`` (if given).

    Args:
        own: parts of the runs, one per seed.
        other: the same for the model to compare with.

    Returns:
        ``None`` if no parts are stored, or the runs were not evaluated on the same units.
    """
    samples = [parts.arrays for parts in (*own, *other)]
    if not own or len({tuple(map(len, arrays)) for arrays in samples}) > 1 or min(map(len, samples[0])) < 2:
        return None
    variance = 0.0
    for rows in zip(*samples, strict=True):
        means: NDArray[np.float64] = sum(rows[1 : len(own)], rows[0]) / len(own)
        if other:
            means = means - sum(rows[len(own) + 1 :], rows[len(own)]) / len(other)
        from_mean = means - means.sum() / len(means)
        variance += float(from_mean @ from_mean) / (len(means) - 1) / len(means)
    return math.sqrt(variance) if math.isfinite(variance) else None


def resolution(own: Sequence[Parts], other: Sequence[Parts]) -> float | None:
    """The smallest difference between the two that is significant on this test split.

    A smaller difference lies within the 95% interval around 0 that is due to the sampling of test units alone, for any
    number of seeds.
    """
    error = standard_error(own, other)
    return None if error is None else Z * error
