"""Metrics as values. A task states them; a result carries them, so that views need nothing but the store."""

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
    """One figure of quality: its name, which way is better, and how it is shown.

    Tolerances and thresholds that are stated without a metric are in the unit of the primary one.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """In columns, in settings, and in MLflow."""
    title: str = Field(min_length=1)
    """In sentences and headings."""
    meaning: str = ""
    """One line, where the title does not say it."""
    higher_is_better: bool
    primary: bool = False
    """Ranks, selects and prunes. A task has exactly one."""
    monitored: bool = False
    """Evaluated after every epoch and kept in the history; a recipe may select by it."""
    grouped: bool = False
    """Worked out within groups of samples, such as those of a user."""
    low: float | None = None
    """No value lies below."""
    high: float | None = None
    """No value lies above."""
    chance: float | None = None
    """Value of a model that knows nothing, where there is a natural one."""
    digits: int = Field(4, ge=0, le=9)
    """Decimal places that tables show."""
    factor: Positive = 1.0
    """Tables show the value times this, such as 100 for percent."""
    units: str = "rows"
    """What is drawn independently of each other, and what the parts are of: rows, users."""
    by: str = ""
    """Whose way it is to get a variance from the parts."""
    spread: NonNegative | None = None
    """By how much two runs of one setting on different hardware may differ; ``None``: not known, none is allowed."""
    typical_spread: NonNegative | None = None
    """The same, of the median of several pairs."""

    def score(self, value: float) -> float:
        """``value``, turned so that higher is better."""
        return value if self.higher_is_better else -value

    def mean(self, quality: Mapping[str, Mapping[str, float]]) -> float:
        """Mean over the labels of a split."""
        return sum(values[self.name] for values in quality.values()) / len(quality)

    def text(self, value: float) -> str:
        """As tables show it."""
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
        """Of the range of values, where it is bounded."""
        return None if self.low is None or self.high is None else self.high - self.low


def primary_of(metrics: Iterable[Metric]) -> Metric:
    """The metric that ranks and selects."""
    return next(metric for metric in metrics if metric.primary)


def monitored(metrics: Iterable[Metric]) -> list[Metric]:
    """Those that are evaluated after every epoch."""
    return [metric for metric in metrics if metric.monitored]


def named(metrics: Iterable[Metric], name: str) -> Metric:
    """The metric called ``name``.

    Raises:
        ValueError: there is none.
    """
    known = {metric.name: metric for metric in metrics}
    if name not in known:
        raise ValueError(f"unknown metric '{name}'{did_you_mean(name, known)}")
    return known[name]


def check(metrics: Sequence[Metric]) -> None:
    """Raises ValueError unless their names differ, and one of them is primary and monitored."""
    if len({metric.name for metric in metrics}) < len(metrics):
        raise ValueError("two metrics have the same name")
    if [metric.monitored for metric in metrics if metric.primary] != [True]:
        raise ValueError("exactly one metric is primary, and that one is monitored")


class Parts(Record):
    """What blocks of independent units (rows, users) contribute to a metric on the test split.

    Blocks are of the same units for every run on the same data. The variance of a metric is the sum over the samples of
    the variance of the mean of their blocks. A ranking metric may have two samples, positive and negative rows; a mean
    over users has one.
    For what is no mean, a block holds the metric plus what the units of the block move it, times the number of blocks.
    """

    samples: dict[str, tuple[Bounded, ...]]
    """By kind of unit, one value for each block."""

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """To calculate with, in the order of ``samples``."""
        import numpy as np

        return tuple(np.array(blocks) for blocks in self.samples.values())

    @model_validator(mode="after")
    def _has_samples(self) -> Self:
        if not self.samples:
            raise ValueError("parts of nothing")
        return self
