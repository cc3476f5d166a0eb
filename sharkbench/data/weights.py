"""Normalises sample weights to mean 1 within each split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharkbench.data.row_checks import PARTS


def mean_one(weights: NDArray[np.float64], parts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``[n]``: each weight divided by the mean of its split (``parts`` ``[n]``: 0, 1, 2 for train, valid, test).

    Loss and metrics are weighted means, which are invariant to a common factor; after normalisation, weights in any
    unit can be summed in float32. Every split has a weight above 0.
    """
    relative = np.empty(len(weights), dtype=np.float32)
    for part in range(len(PARTS)):
        own = weights[parts == part]
        own = own / own.max()  # first: the sum of large weights may overflow
        relative[parts == part] = own / own.mean()
    return relative


def effective_rows(weights: NDArray[np.float32], parts: NDArray[np.uint8]) -> dict[str, float]:
    """Effective sample size of each split, ``(sum w)^2 / sum w^2`` (Kish, 1965)."""
    own = {name: weights[parts == part].astype(np.float64) for part, name in enumerate(PARTS)}
    return {name: float(w.sum() ** 2 / (w @ w)) for name, w in own.items()}
