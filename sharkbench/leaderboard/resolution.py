"""What the rows of a test split can say: the smallest AUC difference that it can show.

AUC is an average over pairs of a positive and a negative row; another draw of test rows would have given another. Two
models are judged on the same rows, so the standard error of their difference follows from what each row contributes to
either (DeLong, DeLong and Clarke-Pearson, Biometrics 1988): for a positive row the share of negatives that it beats,
for a negative row the share of positives that beat it. A run stores the means of these over blocks of rows, the same
rows for every run on the same data. Block means keep the correlation of two models and estimate the same variance as
single rows do, only with less certainty: with 100 blocks the standard error is within 7% of DeLong's two times in
three. Rows count as independent draws, as in DeLong's method; where one user owns many rows, the split resolves less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sharkbench.leaderboard.statistics import CONFIDENCE
from sharkbench.results.records import AucBlocks

Z = float(special.ndtri((1 + CONFIDENCE) / 2))


def standard_error(own: Sequence[AucBlocks], other: Sequence[AucBlocks] = ()) -> float | None:
    """Over draws of test rows: of the mean AUC of ``own`` minus that of ``other``, or of the mean AUC alone.

    Args:
        own: one per seed.
        other: the same for the model that it is compared with.

    Returns:
        ``None`` where nothing is stored, or the runs were not judged on the same rows.
    """
    variance = 0.0
    for sign in (0, 1):
        rows = [blocks.arrays[sign] for blocks in (*own, *other)]
        if not own or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
            return None
        means: NDArray[np.float64] = sum(rows[1 : len(own)], rows[0]) / len(own)
        if other:
            means = means - sum(rows[len(own) + 1 :], rows[len(own)]) / len(other)
        from_mean = means - means.sum() / len(means)
        variance += float(from_mean @ from_mean) / (len(means) - 1) / len(means)
    return math.sqrt(variance) if math.isfinite(variance) else None


def resolution(own: Sequence[AucBlocks], other: Sequence[AucBlocks]) -> float | None:
    """The smallest AUC difference between the two that these test rows can show.

    A difference below it lies within the 95% interval that the draw of test rows alone leaves around 0, however many
    seeds there are.
    """
    error = standard_error(own, other)
    return None if error is None else Z * error
