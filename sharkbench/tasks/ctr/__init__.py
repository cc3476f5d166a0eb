"""Click-through rate prediction: binary labels, one logit each. Light; the computations are imported on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sharkbench.results.metrics import Metric, Parts
from sharkbench.tasks.base import LabelKind, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

AUC = Metric(
    name="auc",
    title="AUC",
    higher_is_better=True,
    primary=True,
    monitored=True,
    low=0,
    high=1,
    chance=0.5,
    by="DeLong",
    # Of 246 runs that two processors both made the median differed by .0004 and the largest by .0097
    # (docs/statistics.md): no drawn run may differ by more than the first, nor half of them by more than the second.
    spread=0.01,
    typical_spread=0.001,
)
LOG_LOSS = Metric(
    name="logloss",
    title="log loss",
    higher_is_better=False,
    monitored=True,
    low=0,
    # That of AUC, as nothing is known of its own: what is refused only stays stale.
    spread=0.01,
)
NORMALIZED_ENTROPY = Metric(
    name="normalized_entropy",
    title="normalized entropy",
    meaning="log loss, relative to that of the label's base rate",
    higher_is_better=False,
    low=0,
)
CALIBRATION_ERROR = Metric(
    name="ece",
    title="calibration error",
    meaning="expected calibration error",
    higher_is_better=False,
    low=0,
    high=1,
)
GROUPED_AUC = Metric(
    name="gauc",
    title="grouped AUC",
    meaning="AUC within groups, where a group column is named",
    higher_is_better=True,
    grouped=True,
    low=0,
    high=1,
)


class Ctr(Task):
    """Click-through rate: the probability of each label, evaluated by ranking, log loss and calibration."""

    name: Literal["ctr"] = "ctr"

    ece_bins: int = Field(default=20, ge=2)
    """Number of bins of the calibration error; each has about the same number of samples."""

    labels: ClassVar[LabelKind] = "binary"
    metrics: ClassVar[tuple[Metric, ...]] = (AUC, LOG_LOSS, NORMALIZED_ENTROPY, CALIBRATION_ERROR, GROUPED_AUC)
    loss_metric: ClassVar[str] = LOG_LOSS.name

    def loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        """Binary cross-entropy, mean over samples and labels; 0, with gradients of 0, if all weights are 0."""
        from sharkbench.tasks.ctr.loss import cross_entropy

        return cross_entropy(logits, labels, weight)

    def values(
        self,
        label: str,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        groups: NDArray[np.integer] | None,
        weights: NDArray[np.floating] | None,
    ) -> dict[str, float]:
        """All metrics of one label from logits and labels of 0 and 1."""
        from sharkbench.tasks.ctr.quality import values

        found = values(label, scores, labels, groups, weights, self.ece_bins)
        return {metric.name: value for metric, value in zip(self.metrics, found, strict=True) if value is not None}

    def parts(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        groups: NDArray[np.integer] | None,
        weights: NDArray[np.floating] | None,
    ) -> dict[str, Parts]:
        """DeLong's components of the AUC, by blocks of rows."""
        from sharkbench.tasks.ctr.blocks import auc_blocks

        return {AUC.name: auc_blocks(scores, labels, weights)}
