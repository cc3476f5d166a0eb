"""Click-through rate prediction: binary labels, one logit each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sharkbench.errors import DataError, Diverged
from sharkbench.records import Quality
from sharkbench.tasks import metrics
from sharkbench.tasks.config import Ctr


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, mean over samples and labels; ``[B, T]`` both."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels)


def quality(
    scores: NDArray[np.float32],
    labels: NDArray[np.float32],
    names: Sequence[str],
    task: Ctr,
    groups: NDArray[np.integer] | None = None,
) -> dict[str, Quality]:
    """Quality of each label.

    Args:
        scores: ``[n, T]`` logits.
        labels: ``[n, T]`` zeros and ones.
        names: the ``T`` labels.
        groups: ``[n]`` group of each sample, for grouped AUC.

    Raises:
        DataError: a label has one class only, so that there is nothing to rank.
        Diverged: a score is not finite.
    """
    result = {}
    for t, name in enumerate(names):
        score, label = np.ascontiguousarray(scores[:, t]), np.ascontiguousarray(labels[:, t])
        rate = float(label.mean(dtype=np.float64)) if len(label) else 0.0
        if not 0 < rate < 1:
            have = f"is {rate:g} in all {len(label):,} rows" if len(label) else "has no rows"
            raise DataError(f"label '{name}' {have} of a split, so it has no AUC; choose another split or label")
        if not np.isfinite(score).all():
            raise Diverged(
                f"predictions of label '{name}' are not finite; lower the learning rate or clip the gradient"
            )
        keys = metrics.sort_scores(score, label)
        logloss = metrics.mean_log_loss(score, label)
        gauc = metrics.grouped_auc(score, label, groups) if groups is not None else float("nan")
        result[name] = Quality(
            auc=metrics.auc(keys),
            logloss=logloss,
            normalized_entropy=metrics.normalized_entropy(logloss, rate),
            ece=metrics.calibration_error(keys, task.ece_bins),
            gauc=None if np.isnan(gauc) else gauc,
        )
    return result
