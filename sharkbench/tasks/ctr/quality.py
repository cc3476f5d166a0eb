"""All metrics of one binary label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharkbench.errors import DataError, Diverged
from sharkbench.tasks.ctr import metrics, weighted


def values(
    name: str,
    scores: NDArray[np.float32],
    labels: NDArray[np.float32],
    groups: NDArray[np.integer] | None,
    weights: NDArray[np.floating] | None,
    ece_bins: int,
) -> tuple[float, float, float, float, float | None]:
    """AUC, log loss, normalized entropy, calibration error and, if some group has both classes, grouped AUC.

    Args:
        scores: ``[n]`` logits.
        labels: ``[n]`` zeros and ones.
        groups: ``[n]`` group of each sample.
        weights: ``[n]``, non-negative weight of each sample in every metric; a sample of weight 2 is like two samples.

        Raises:
            DataError: the label has only one class, so that there is nothing to rank.
            Diverged: a score is not finite.
    """
    rate = metrics.mean(labels, weights) if len(labels) else 0.0
    if not 0 < rate < 1:
        of_weight = "" if weights is None else " that weigh anything"
        have = f"is {rate:g} in all {len(labels):,} rows{of_weight}" if len(labels) else "has no rows"
        raise DataError(f"label '{name}' {have} of a split, so it has no AUC; choose another split or label")
    if not np.isfinite(scores).all():
        raise Diverged(f"predictions of label '{name}' are not finite; lower the learning rate or clip the gradient")
    logloss = metrics.mean_log_loss(scores, labels, weights)
    if weights is None:
        keys = metrics.sort_scores(scores, labels)
        auc, ece = metrics.auc(keys), metrics.calibration_error(keys, ece_bins)
        gauc = metrics.grouped_auc(scores, labels, groups) if groups is not None else float("nan")
    else:
        ordered = weighted.sort_scores(scores, labels, weights)
        auc, ece = weighted.auc(*ordered), weighted.calibration_error(*ordered, ece_bins)
        gauc = weighted.grouped_auc(scores, labels, groups, weights) if groups is not None else float("nan")
    entropy = metrics.normalized_entropy(logloss, rate)
    return _share(auc), logloss, entropy, _share(ece), None if np.isnan(gauc) else _share(gauc)


def _share(value: float) -> float:
    """Clip to [0, 1], which rounding may exceed by the last bit; NaN stays."""
    return float(np.clip(value, 0.0, 1.0))
