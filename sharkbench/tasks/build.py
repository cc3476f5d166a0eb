"""From a task's settings to its loss and metrics."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sharkbench.results.records import Quality
from sharkbench.tasks.config import TaskConfig


class Task(Protocol):
    """What a module ``tasks/<name>.py`` offers."""

    def loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor: ...

    def quality(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        names: Sequence[str],
        task: TaskConfig,
        groups: NDArray[np.integer] | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> dict[str, Quality]: ...


def task_of(config: TaskConfig) -> Task:
    """The module of the task."""
    return cast(Task, importlib.import_module(f"sharkbench.tasks.{config.name}"))
