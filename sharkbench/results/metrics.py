"""Metrics as data. A task declares them and a result stores them, so that views need only the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from sharkbench.errors import did_you_mean
from sharkbench.results.base import Bounded, NonNegative, Positive, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Quality = dict[str, dict[str, float]]
"""Label -> metric -> value."""


class Metric(Record):
    """One metric of quality: its name, its direction, and its display.

    Tolerances and thresholds without a metric are in the unit of the primary metric.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name in columns, in settings and in MLflow."""
    title: str = Field(min_length=1)
    """Name in sentences and headings."""
    meaning: str = ""
    """Explanation in one line, if the title is not sufficient."""
    higher_is_better: bool
    primary: bool = False
    """Whether it is the metric for ranking, selection and pruning. A task has exactly one."""
    monitored: bool = False
    """Whether it is evaluated after every epoch and stored in the history; a recipe may select by it."""
    grouped: bool = False
    """Whether it is computed within groups of samples, such as those of a user."""
    low: float | None = None
    """Lower bound of its values."""
    high: float | None = None
    """Upper bound of its values."""
    chance: float | None = None
    """Value of an uninformative model, if there is a natural one."""
    digits: int = Field(4, ge=0, le=9)
    """Decimal places in tables."""
    factor: Positive = 1.0
    """Factor by which tables multiply the value, such as 100 for percent."""
    units: str = "rows"
    """The independently drawn units that the parts refer to: rows, users."""
    by: str = ""
    """Author of the variance estimate from the parts."""
    spread: NonNegative | None = None
    """Largest difference of two runs of one setting on different hardware; ``None``: unknown, none is allowed."""
    typical_spread: NonNegative | None = None
    """The same for the median of several pairs."""

    def score(self, value: float) -> float:
        """``value``, with its sign changed if lower is better, so that higher is better."""
        return value if self.higher_is_better else -value

    def mean(self, quality: Mapping[str, Mapping[str, float]]) -> float:
        """Mean over the labels of a split."""
        return sum(values[self.name] for values in quality.values()) / len(quality)

    def text(self, value: float) -> str:
        """``value`` as tables show it."""
        return f"{value * self.factor:.{self.digits}f}"

    def change(self, difference: float) -> str:
        """A difference as tables show it, with its sign."""
        return f"{difference * self.factor:+.{self.digits}f}"

    @property
    def step(self) -> float:
        """The smallest difference that tables show."""
        return float(f"1e-{self.digits}") / self.factor

    @property
    def width(self) -> float | None:
        """Width of the range of values, if it is bounded."""
        return None if self.low is None or self.high is None else self.high - self.low


def primary_of(metrics: Iterable[Metric]) -> Metric:
    """The primary metric, for ranking and selection."""
    return next(metric for metric in metrics if metric.primary)


def monitored(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics that are evaluated after every epoch."""
    return [metric for metric in metrics if metric.monitored]


def named(metrics: Iterable[Metric], name: str) -> Metric:
    """The metric with the name ``name``.

    Raises:
        ValueError: there is no such metric.
    """
    known = {metric.name: metric for metric in metrics}
    if name not in known:
        raise ValueError(f"unknown metric '{name}'{did_you_mean(name, known)}")
    return known[name]


def check(metrics: Sequence[Metric]) -> None:
    """Raise a ValueError unless the names differ and exactly one metric is primary, and it is monitored."""
    if len({metric.name for metric in metrics}) < len(metrics):
        raise ValueError("two metrics have the same name")
    if [metric.monitored for metric in metrics if metric.primary] != [True]:
        raise ValueError("exactly one metric is primary, and that one is monitored")


class Parts(Record):
    """Contributions of blocks of independent units (rows, users) to a metric on the test split.

    Blocks have the same units for every run on the same data. The variance of a metric is the sum over the samples of
    the variance of the mean of their blocks. A ranking metric may have two samples, positive and negative rows; a mean
    over users has one.
    For a metric that is not a mean, a block holds the metric plus the change due to the units of the block times the
    number of blocks.
    """

    samples: dict[str, tuple[Bounded, ...]]
    """One value per block, by kind of unit."""

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """The values as arrays, in the order of ``samples``."""
        import numpy as np

        return tuple(np.array(blocks) for blocks in self.samples.values())

    @model_validator(mode="after")
    def _has_samples(self) -> Self:
        if not self.samples:
            raise ValueError("parts of nothing")
        return self
