"""Published figures to compare a suite's results with. Imports pydantic only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sharkbench.results.metrics import Metric, named, primary_of
from sharkbench.results.records import REFERENCE


def _quoted_or_not(value: object) -> object:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class Reference(BaseModel):
    """One published value: its setting, and the tolerance within which a result reproduces it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    dataset: str = Field(min_length=1)
    """Name of the data set, as in ``datasets``."""
    backbone: str = Field(min_length=1)
    """Name of the backbone."""
    method: str = Field(REFERENCE, min_length=1)
    """Label of the method's row."""
    budget: Annotated[str, BeforeValidator(_quoted_or_not)] = ""
    """Budget of the row, as in ``budgets``; empty for a method without a budget."""
    label: str = ""
    """Name of the label; may be omitted if the data set has only one."""
    metric: str = ""
    """Published metric: a metric of the task, by default its primary metric."""
    value: float
    """The published value on the test split."""
    tolerance: float = Field(0.001, gt=0)
    """Largest deviation of a mean over seeds that counts as reproduced."""
    source: str = Field(min_length=1)
    """Publication of the value."""

    def of(self, metrics: Sequence[Metric]) -> Self:
        """This reference with its metric given by name.

        Raises:
            ValueError: its metric is not one of ``metrics``.
        """
        metric = named(metrics, self.metric) if self.metric else primary_of(metrics)
        return self.model_copy(update={"metric": metric.name})
