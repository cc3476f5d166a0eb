"""Claims of a suite about its own results: each is a comparison with a tolerance. Imports pydantic only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sharkbench.errors import did_you_mean
from sharkbench.results.metrics import Metric, primary_of

FIGURES = (
    "bytes_ratio",
    "training_seconds",
    "samples_per_second",
    "model_ratio_fp32",
    "large_model_ratio_fp32",
    "lookups_ratio_torch",
)
NOTE = "note:"


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | int | float) else value


def _as_text(value: object) -> object:
    return tuple(f"{v:g}" if isinstance(v, int | float) else v for v in _listed(value))  # type: ignore[attr-defined]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Claim(BaseModel):
    """One claim: a figure of a method, or its difference or ratio to that of a rival, has a lower or an upper bound.

    It is tested on every data set, backbone, label and budget that its filters admit, and against each rival; seeds are
    paired.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    says: str = Field(min_length=1)
    """The claim in words."""
    method: str = Field(min_length=1)
    """Label of the method."""
    against: Names = ()
    """Labels of the rivals, the methods to compare with; empty if the figure itself is bounded."""
    figure: str = ""
    """What is compared: a metric of the task (by default the primary one), ``bytes_ratio``, ``training_seconds``,
    ``samples_per_second`` of the whole model, ``model_ratio_fp32`` or ``large_model_ratio_fp32`` (relative to the model
    with the fp32 table, timed in turns), ``lookups_ratio_torch``, or ``note:TABLE.COLUMN``, the sum of a column of a
    table that the method notes down."""
    compare: Literal["difference", "ratio"] = "difference"
    """The method's figure minus the rival's, or divided by the rival's."""
    at_least: float | None = None
    """Lower bound; a negative bound on a difference tolerates a loss of that size."""
    at_most: float | None = None
    """Upper bound."""
    datasets: Names = ()
    """Only these data sets."""
    backbones: Names = ()
    """Only these backbones."""
    labels: Names = ()
    """Only these labels."""
    budgets: Annotated[tuple[str, ...], BeforeValidator(_as_text)] = ()
    """Only these budgets of the method."""

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a claim needs either at_least or at_most")
        if self.compare == "ratio" and not self.against:
            raise ValueError("a ratio needs a rival; name it under against")
        return self

    def of(self, metrics: Sequence[Metric]) -> Self:
        """This claim with its figure given by name.

        Raises:
            ValueError: there is no such figure.
        """
        known = (*(metric.name for metric in metrics), *FIGURES)
        figure = self.figure or primary_of(metrics).name
        if figure not in known and not (figure.startswith(NOTE) and "." in figure):
            raise ValueError(f"unknown figure '{figure}'{did_you_mean(figure, (*known, NOTE))}")
        return self.model_copy(update={"figure": figure})

    def check_names(self, methods: Collection[str], datasets: Collection[str], backbones: Collection[str]) -> None:
        """Raise a ValueError if the claim names something that the suite does not have."""
        for what, named, known in (
            ("method", (self.method, *self.against), methods),
            ("data set", self.datasets, datasets),
            ("backbone", self.backbones, backbones),
        ):
            for name in named:
                if name not in known:
                    raise ValueError(
                        f"the claim '{self.says}' names an unknown {what} '{name}'{did_you_mean(name, known)}"
                    )
