"""Quality of a model on a split, computed from what the model serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharkbench.data.dataset import Split
from sharkbench.results.records import Quality
from sharkbench.tasks.build import task_of
from sharkbench.tasks.config import TaskConfig
from sharkbench.training.predict import predict

__all__ = ["predict", "quality"]


def quality(scores: NDArray[np.float32], split: Split, labels: Sequence[str], task: TaskConfig) -> dict[str, Quality]:
    """Quality of each label, from the ``[n, T]`` logits of :func:`predict` on the same split.

    Raises:
        DataError: a label has one class only in the split.
        Diverged: a score is not finite.
    """
    groups = split.group.numpy() if split.group is not None else None
    weights = split.weight.numpy() if split.weight is not None else None
    return task_of(task).quality(scores, split.labels.numpy(), labels, task, groups, weights)
