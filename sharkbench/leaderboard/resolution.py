"""What the units of a test split can say: the smallest difference of a metric that it can show.

A metric is an average over what is drawn: rows, pairs of a positive and a negative row, users. Another draw would have
given another. Two models are evaluated on the same units, so the standard error of their difference follows from what
each unit contributes to either (for pairs of rows: DeLong, DeLong and Clarke-Pearson, Biometrics 1988). A run stores
these contributions by blocks of units, the same for every run on the same data
(:class:`~sharkbench.results.metrics.Parts`). Blocks keep the correlation of two models and estimate the same variance
as single units do, only with less certainty: with 100 blocks the standard error is within 7% of that two times in
three. Units count as independent draws; where the units are rows and one user owns many, the split resolves less.
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
    """Over draws of test units: of the mean metric of ``own`` minus that of ``other``, or of the mean metric alone.

    Args:
        own: one per seed.
        other: the same for the model that it is compared with.

    Returns:
        ``None`` where nothing is stored, or the runs were not evaluated on the same units.
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
    """The smallest difference between the two that this test split can show.

    A difference below it lies within the 95% interval that the draw of test units alone leaves around 0, however many
    seeds there are.
    """
    error = standard_error(own, other)
    return None if error is None else Z * error
