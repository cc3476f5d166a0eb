"""Sample weights as they are stored: relative to the mean of their split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharkbench.data.row_checks import PARTS


def mean_one(weights: NDArray[np.float64], parts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``[n]``: each weight over the mean of its split (``parts`` ``[n]``: 0, 1, 2 for train, valid, test).

    Loss and metrics are weighted means, which no common factor changes; without it, weights in any unit can be summed
    in float32. Every split has a weight above 0.
    """
    relative = np.empty(len(weights), dtype=np.float32)
    for part in range(len(PARTS)):
        own = weights[parts == part]
        own = own / own.max()  # first of all: the sum of large weights may be infinite
        relative[parts == part] = own / own.mean()
    return relative


def effective_rows(weights: NDArray[np.float32], parts: NDArray[np.uint8]) -> dict[str, float]:
    """By split: how many rows of equal weight say as much as these, ``(sum w)^2 / sum w^2`` (Kish, 1965)."""
    own = {name: weights[parts == part].astype(np.float64) for part, name in enumerate(PARTS)}
    return {name: float(w.sum() ** 2 / (w @ w)) for name, w in own.items()}
