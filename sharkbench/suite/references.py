"""Published figures that a suite's results are held against. Pydantic only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sharkbench.results.metrics import Metric, named, primary_of
from sharkbench.results.records import REFERENCE


def _quoted_or_not(value: object) -> object:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class Reference(BaseModel):
    """One published value: where it was measured, and how near a result has to come to reproduce it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    dataset: str = Field(min_length=1)
    """Name of the data set, as in ``datasets``."""
    backbone: str = Field(min_length=1)
    """Name of the backbone."""
    method: str = Field(REFERENCE, min_length=1)
    """Label of the method's row."""
    budget: Annotated[str, BeforeValidator(_quoted_or_not)] = ""
    """Budget of the row, as in ``budgets``; empty for a method that takes none."""
    label: str = ""
    """What is predicted; may be left out where the data set has one label only."""
    metric: str = ""
    """What was published: a metric of the task, its primary one unless given."""
    value: float
    """The published value, of the test split."""
    tolerance: float = Field(0.001, gt=0)
    """A mean over seeds that is off by less counts as reproduced."""
    source: str = Field(min_length=1)
    """Where it was published."""

    def of(self, metrics: Sequence[Metric]) -> Self:
        """The same with its metric by name.

        Raises:
            ValueError: it is none of ``metrics``.
        """
        metric = named(metrics, self.metric) if self.metric else primary_of(metrics)
        return self.model_copy(update={"metric": metric.name})
