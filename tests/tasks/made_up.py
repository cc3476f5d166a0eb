"""A task as somebody outside of this project would write it: a folder with one metric, lower is better, by users."""

from __future__ import annotations

from pathlib import Path

NAME = "badness"
SETTINGS = '''
from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.results.metrics import Metric, Parts
from sharkbench.tasks.base import LabelKind, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

BADNESS = Metric(
    name="badness", title="badness", higher_is_better=False, primary=True, monitored=True, low=0, grouped=True,
    digits=3, factor=100, units="users", spread=0.1,
)


class Badness(Task):
    """How wrong predictions are for the mean user."""

    name: Literal["badness"] = "badness"

    power: float = 2.0
    """Of the error."""

    labels: ClassVar[LabelKind] = "binary"
    metrics: ClassVar[tuple[Metric, ...]] = (BADNESS,)

    def loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        from .arithmetic import loss

        return loss(logits, labels)

    def values(self, label: str, scores: NDArray[np.float32], labels: NDArray[np.float32],
               groups: NDArray[np.integer] | None, weights: NDArray[np.floating] | None) -> dict[str, float]:
        from .arithmetic import by_user

        return {"badness": float(by_user(scores, labels, groups, self.power).mean())}

    def parts(self, scores: NDArray[np.float32], labels: NDArray[np.float32],
              groups: NDArray[np.integer] | None, weights: NDArray[np.floating] | None) -> dict[str, Parts]:
        from .arithmetic import by_user

        return {"badness": Parts(samples={"users": tuple(by_user(scores, labels, groups, self.power).tolist())})}
'''
ARITHMETIC = '''
from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(logits.float().sigmoid(), labels)


def by_user(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, power: float) -> np.ndarray:
    """Mean error of each user."""
    assert groups is not None
    errors = np.abs(1 / (1 + np.exp(-scores.astype(np.float64))) - labels) ** power
    _, place = np.unique(groups, return_inverse=True)
    return np.bincount(place, errors) / np.bincount(place)
'''


def write(folder: Path) -> Path:
    """The task's folder in ``folder``, which is what ``SHARKBENCH_TASKS`` names."""
    package = folder / NAME
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SETTINGS)
    (package / "arithmetic.py").write_text(ARITHMETIC)
    return folder
