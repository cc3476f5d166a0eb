"""Contributions of blocks of test rows to an AUC, stored with a run so that two runs can be compared row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sharkbench.results.metrics import Parts
from sharkbench.tasks.ctr.metrics import parts

MAX_BLOCKS = 100


def auc_blocks(
    scores: NDArray[np.floating],
    labels: NDArray[np.floating | np.integer],
    weights: NDArray[np.floating] | None = None,
) -> Parts:
    """Structural components of the AUC (DeLong et al., Biometrics 1988), averaged over blocks of rows.

    The rows of each class are assigned to the blocks in turn, in the order of the data, so that blocks depend on the
    labels alone and have the same rows for every model. A class has :data:`MAX_BLOCKS` blocks, or one per row if it has
    fewer rows. Ties count half. The mean of the blocks, weighted by rows, is the AUC.

    With sample ``weights``, rows of weight 0 are in no block, and the value of a block is the weighted AUC ``A`` plus
    the change due to its rows, scaled by the number of blocks: ``A + blocks * sum of w_i (v_i - A) / sum of all w``
    over its rows, where ``v_i`` is the weighted share of the other class. The plain mean of the blocks is ``A``, and
    the variance of that mean is that of the weighted AUC to first order in the change of a row; the value of a block
    may lie outside of [0, 1].

    Args:
        scores: ``[n]``.
        labels: ``[n]`` zeros and ones, with both classes present.
        weights: ``[n]``, 0 or more.
    """
    scores = np.asarray(scores, dtype=np.float32)
    if weights is not None:
        return _weighted(scores, labels > 0, weights.astype(np.float64))
    positives, negatives = scores[labels > 0], scores[labels <= 0]
    ordered_positives, ordered_negatives = np.sort(positives), np.sort(negatives)
    return Parts(
        samples={
            "positives": _by_block(positives, lambda part: _share_below(part, ordered_negatives)),
            "negatives": _by_block(negatives, lambda part: 1 - _share_below(part, ordered_positives)),
        }
    )


def _share_below(own: NDArray[np.float32], ordered: NDArray[np.float32]) -> NDArray[np.float64]:
    doubled = np.searchsorted(ordered, own, side="left") + np.searchsorted(ordered, own, side="right")
    return doubled / (2 * len(ordered))


def _by_block(
    scores: NDArray[np.float32], value: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> tuple[float, ...]:
    """Means of ``value`` over the blocks, computed for a part of the rows at a time."""
    blocks = min(MAX_BLOCKS, len(scores))
    sums, counts = np.zeros(blocks), np.zeros(blocks, dtype=np.int64)
    for part in parts(len(scores)):
        block = np.arange(part.start, part.stop) % blocks
        sums += np.bincount(block, weights=value(scores[part]), minlength=blocks)
        counts += np.bincount(block, minlength=blocks)
    return tuple(round(float(mean), 8) for mean in sums / counts)


def _weighted(scores: NDArray[np.float32], positive: NDArray[np.bool_], weights: NDArray[np.float64]) -> Parts:
    counts = weights > 0
    sides = [(scores[side], weights[side]) for side in (positive & counts, ~positive & counts)]
    found = []
    for (own, weight), (other, of_other) in (sides, sides[::-1]):
        order = np.argsort(other, kind="stable")
        reached = np.concatenate([[0.0], np.cumsum(of_other[order])])
        ends = (np.searchsorted(other[order], own, side=side) for side in ("left", "right"))
        shares = sum(reached[end] for end in ends) / (2 * reached[-1])
        found.append((shares, weight))
    (beaten, of_positives), (beating, of_negatives) = found
    return Parts(samples={"positives": _moves(beaten, of_positives), "negatives": _moves(1 - beating, of_negatives)})


def _moves(shares: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, ...]:
    """For each block, the weighted mean of the rows' ``shares`` plus the change due to the block."""
    blocks = min(MAX_BLOCKS, len(shares))
    mean = float(np.average(shares, weights=weights))
    moved = np.bincount(np.arange(len(shares)) % blocks, weights=weights * (shares - mean), minlength=blocks)
    return tuple(round(float(value), 8) for value in mean + blocks * moved / weights.sum())
