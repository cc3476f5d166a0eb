"""Click-through rate prediction: binary labels, one logit each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sharkbench.errors import DataError, Diverged
from sharkbench.results.records import Quality
from sharkbench.tasks import metrics, weighted
from sharkbench.tasks.config import Ctr


def loss(logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """Binary cross-entropy ``[B, T]``, mean over samples and labels; samples by their ``weight`` ``[B]``, if given.

    Of samples that weigh nothing together it is 0, with gradients of 0.
    """
    if weight is None:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)
    by_sample = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(1)
    total = weight.sum()
    # Shares first: the backward pass of a division by next to nothing would be infinite.
    return (by_sample * (weight / torch.where(total > 0, total, 1))).sum()


def quality(
    scores: NDArray[np.float32],
    labels: NDArray[np.float32],
    names: Sequence[str],
    task: Ctr,
    groups: NDArray[np.integer] | None = None,
    weights: NDArray[np.floating] | None = None,
) -> dict[str, Quality]:
    """Quality of each label.

    Args:
        scores: ``[n, T]`` logits.
        labels: ``[n, T]`` zeros and ones.
        names: the ``T`` labels.
        groups: ``[n]`` group of each sample, for grouped AUC.
        weights: ``[n]``, 0 or more: what each sample counts in every metric; one that counts 2 is like two samples.

    Raises:
        DataError: a label has one class only, so that there is nothing to rank.
        Diverged: a score is not finite.
    """
    result = {}
    for t, name in enumerate(names):
        score, label = np.ascontiguousarray(scores[:, t]), np.ascontiguousarray(labels[:, t])
        rate = metrics.mean(label, weights) if len(label) else 0.0
        if not 0 < rate < 1:
            of_weight = "" if weights is None else " that weigh anything"
            have = f"is {rate:g} in all {len(label):,} rows{of_weight}" if len(label) else "has no rows"
            raise DataError(f"label '{name}' {have} of a split, so it has no AUC; choose another split or label")
        if not np.isfinite(score).all():
            raise Diverged(
                f"predictions of label '{name}' are not finite; lower the learning rate or clip the gradient"
            )
        logloss = metrics.mean_log_loss(score, label, weights)
        if weights is None:
            keys = metrics.sort_scores(score, label)
            auc, ece = metrics.auc(keys), metrics.calibration_error(keys, task.ece_bins)
            gauc = metrics.grouped_auc(score, label, groups) if groups is not None else float("nan")
        else:
            ordered = weighted.sort_scores(score, label, weights)
            auc, ece = weighted.auc(*ordered), weighted.calibration_error(*ordered, task.ece_bins)
            gauc = weighted.grouped_auc(score, label, groups, weights) if groups is not None else float("nan")
        result[name] = Quality(
            auc=_share(auc),
            logloss=logloss,
            normalized_entropy=metrics.normalized_entropy(logloss, rate),
            ece=_share(ece),
            gauc=None if np.isnan(gauc) else _share(gauc),
        )
    return result


def _share(value: float) -> float:
    """From 0 to 1, which sums of rounded numbers leave by a last bit; NaN stays."""
    return float(np.clip(value, 0.0, 1.0))
