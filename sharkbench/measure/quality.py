"""Quality of a model on a split, computed from its scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharkbench.data.samples import Split
from sharkbench.results.metrics import Parts, Quality
from sharkbench.tasks.base import Task
from sharkbench.training.predict import predict

__all__ = ["parts", "predict", "quality"]


def quality(scores: NDArray[np.float32], split: Split, labels: Sequence[str], task: Task) -> Quality:
    """Quality of each label, from the ``[n, T]`` logits of :func:`predict` on the same split.

    Raises:
        DataError: a label cannot be evaluated on the split.
        Diverged: a score is not finite.
    """
    return task.quality(scores, split.labels.numpy(), labels, *_beside(split))


def parts(scores: NDArray[np.float32], split: Split, labels: Sequence[str], task: Task) -> dict[str, dict[str, Parts]]:
    """Contributions of blocks of the split's units: label -> metric -> parts. Arguments as in :func:`quality`."""
    return task.parts_by_label(scores, split.labels.numpy(), labels, *_beside(split))


def _beside(split: Split) -> tuple[NDArray[np.integer] | None, NDArray[np.floating] | None]:
    """Groups and weights of the samples."""
    groups, weights = split.group, split.weight
    return None if groups is None else groups.numpy(), None if weights is None else weights.numpy()
