"""The metrics of :mod:`sharkbench.tasks.ctr.metrics` for samples with weights: one of weight 2 is like two samples.

The sort has to permute the weights too, which takes about 40 bytes per score instead of 8 for the key.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sharkbench.tasks.ctr import metrics
from sharkbench.tasks.ctr.metrics import Keys, Labels, Scores, Weights

Masses = NDArray[np.float64]


def sort_scores(scores: Scores, labels: Labels, weights: Weights) -> tuple[Keys, Masses]:
    """``[n]`` keys as in :func:`sharkbench.tasks.ctr.metrics.sort_scores`, and the weight of each.

    Samples of weight 0 are left out: they affect no metric.
    """
    counts = weights > 0
    keys = metrics.sortable(scores[counts]) << 1 | (labels[counts] > 0)
    order = np.argsort(keys, kind="stable")
    return keys[order], weights[counts][order].astype(np.float64)


def auc(keys: Keys, weights: Masses) -> float:
    """Share of the (positive, negative) pairs, weighted by the product of their weights, that the positive wins.

    Ties count half; NaN if one of the classes is absent.
    """
    per_group, _ = _auc_of_groups(keys, weights, np.zeros(1, dtype=np.int64)) if len(keys) else (weights, weights)
    return float(per_group[0]) if len(per_group) else float("nan")


def grouped_auc(scores: Scores, labels: Labels, groups: NDArray[np.integer], weights: Weights) -> float:
    """Mean of the groups' weighted AUC, weighted by their summed weights; groups with only one class are left out.

    NaN if no group has both classes. ``groups`` are integers from 0 to 2^30 - 1.
    """
    counts = weights > 0
    score = (metrics.sortable(scores[counts]) << 1) | (labels[counts] > 0)
    keys = (groups[counts].astype(np.int64) << 33) | score
    order = np.argsort(keys, kind="stable")
    keys, ordered = keys[order], weights[counts][order].astype(np.float64)
    if not len(keys):
        return float("nan")
    per_group, masses = _auc_of_groups(keys, ordered, _starts(keys >> 33))
    return float(np.average(per_group, weights=masses)) if len(per_group) else float("nan")


def _starts(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Start of each run of equal ``values``; there is at least one value."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def _auc_of_groups(keys: Keys, weights: Masses, first: NDArray[np.int64]) -> tuple[Masses, Masses]:
    """AUC and summed weight of each group with both classes; the groups start at ``first``."""
    starts = _starts(keys >> 1)
    positive = np.where(keys & 1, weights, 0.0)
    positives, negatives = (np.add.reduceat(values, starts) for values in (positive, weights - positive))
    below = np.empty_like(negatives)
    runs = np.searchsorted(starts, first)
    for start, end in pairwise([*runs.tolist(), len(starts)]):
        # Sum each group separately: differences of a sum over all groups could be inexact for a small group.
        np.cumsum(negatives[start:end], out=below[start:end])
    wins = positives * (below - negatives / 2)
    won, mass, others = (np.add.reduceat(values, runs) for values in (wins, positives, negatives))
    both = (mass > 0) & (others > 0)
    return won[both] / mass[both] / others[both], (mass + others)[both]


def calibration_error(keys: Keys, weights: Masses, bins: int) -> float:
    """Expected calibration error: bins have about equal total weight, in order of score; equal scores share a bin."""
    reached = np.cumsum(weights)
    at = np.searchsorted(reached, np.arange(bins) * reached[-1] / bins, side="right")
    edges = keys[at.clip(max=len(keys) - 1)] >> 1
    starts = np.unique(np.searchsorted(keys, edges << 1, side="left"))
    gaps = np.add.reduceat(metrics.residuals(keys) * weights, starts)
    return float(np.abs(gaps).sum() / weights.sum())
