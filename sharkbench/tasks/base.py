"""The interface of tasks. Light: suites are checked without importing torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from sharkbench.results.metrics import Metric, Parts, Quality, check, monitored, named, primary_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LabelKind = Literal["binary", "real"]


class Task(BaseModel, ABC):
    """Base class of tasks; the settings are the fields, with defaults.

    A task is a module or a package that defines one subclass. It imports torch and numpy inside its functions only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str

    labels: ClassVar[LabelKind]
    """Kind of labels: 0 and 1, or any number."""
    metrics: ClassVar[tuple[Metric, ...]]
    """Metrics, in the order of tables."""
    loss_metric: ClassVar[str] = ""
    """Name of the metric that is the loss of a whole split; empty: the primary metric takes its place."""

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        if "metrics" in vars(cls):
            check(cls.metrics)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
        """Scalar training loss.

        Args:
            logits: ``[B, T]``, outputs of the backbone.
            labels: ``[B, T]``.
            weight: ``[B]``, weight of each sample.
        """

    @abstractmethod
    def values(
        self,
        label: str,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        groups: NDArray[np.integer] | None,
        weights: NDArray[np.floating] | None,
    ) -> dict[str, float]:
        """All metrics of one label on a split, by name; metrics that are undefined on the split are left out.

        Args:
            label: name of the label, for messages.
            scores: ``[n]``, outputs of the backbone.
            labels: ``[n]``.
            groups: ``[n]`` group (user) of each sample, if the data set has a group column.
            weights: ``[n]``, non-negative weight of each sample; a sample of weight 2 is like two samples.

        Raises:
            DataError: the labels allow no evaluation.
            Diverged: a score is not finite.
        """

    def parts(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        groups: NDArray[np.integer] | None,
        weights: NDArray[np.floating] | None,
    ) -> dict[str, Parts]:
        """Contributions of blocks of independent units, for one label, by metric. Arguments as in :meth:`values`.

        Tables need them for the resolution of the test split.
        """
        return {}

    def quality(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        names: Sequence[str],
        groups: NDArray[np.integer] | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> Quality:
        """:meth:`values` of each label, from ``[n, T]`` scores and labels."""
        import numpy as np

        columns = [(np.ascontiguousarray(scores[:, t]), np.ascontiguousarray(labels[:, t])) for t in range(len(names))]
        return {name: self.values(name, *own, groups, weights) for name, own in zip(names, columns, strict=True)}

    def parts_by_label(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[np.float32],
        names: Sequence[str],
        groups: NDArray[np.integer] | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> dict[str, dict[str, Parts]]:
        """:meth:`parts` of each label that has some."""
        found = {name: self.parts(scores[:, t], labels[:, t], groups, weights) for t, name in enumerate(names)}
        return {name: parts for name, parts in found.items() if parts}

    @property
    def primary(self) -> Metric:
        """The primary metric, for ranking, selection and pruning."""
        return primary_of(self.metrics)

    def loss_or_metric(self, name: str) -> Metric:
        """The metric that is the loss of a whole split if ``name`` is ``loss``, else the monitored metric ``name``.

        Raises:
            ValueError: there is no such metric.
        """
        return self.monitor((self.loss_metric or None) if name == "loss" else name)

    def monitor(self, name: str | None) -> Metric:
        """The metric that a recipe selects by: the monitored metric ``name``, or by default the primary metric.

        Raises:
            ValueError: there is no such metric.
        """
        return self.primary if name is None else named(monitored(self.metrics), name)
