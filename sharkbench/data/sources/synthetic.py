"""Generated data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sharkbench.data.columns import Columns
from sharkbench.data.options import Label, Labels

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class SyntheticSpec(Columns):
    """Generated data with known ground truth: Zipf-distributed ids, a planted importance per field, interactions.

    The logit of label t has three parts: a sum over fields (a linear model learns it), dot products of pairs of fields
    (an ``fm`` learns them) and a wave over a sum of all fields (a ``dnn`` learns it). Fields of importance 0 are pure
    noise.
    """

    never_inputs: ClassVar[frozenset[str]] = frozenset({"time"})

    source: Literal["synthetic"] = "synthetic"
    rows: int = Field(100_000, ge=1000)
    """Number of rows."""
    cardinalities: tuple[int, ...] = (4000, 2500, 1500, 800, 400, 200, 100, 50, 30, 20, 10, 5)
    """Number of possible values of each field."""
    importances: tuple[float, ...] = ()
    """Planted importance of each field, on any scale; 0 is pure noise. In the default pattern every fourth field is
    noise. Low importances for large fields give tables that are large and useless."""
    zipf: float = Field(1.1, ge=0, le=3)
    """Zipf exponent of the popularity of values; 0 is uniform."""
    strength: tuple[float, float, float] = (1.0, 2.0, 2.5)
    """Standard deviations of the linear, pairwise and higher-order parts of the logit."""
    labels: Labels = (Label(column="click"),)
    """Labels to generate, with any names; they share most of their signal."""
    rate: float = Field(0.3, gt=0, lt=1)
    """Approximate fraction of positive rows."""
    seed: int = Field(0, ge=0)
    """Seed of the ground truth and of the rows."""

    @classmethod
    def default_name(cls, data: dict[str, Any]) -> str:
        return "synthetic"

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if not self.cardinalities or min(self.cardinalities) < 2:
            raise ValueError("cardinalities needs at least one field, each of at least 2 values")
        if sum(self.cardinalities) >= 2**31:
            raise ValueError(f"cardinalities sum to {sum(self.cardinalities):,}, and ids end at {2**31:,}")
        if self.importances and len(self.importances) != len(self.cardinalities):
            raise ValueError(
                f"importances has {len(self.importances)} numbers for {len(self.cardinalities)} cardinalities; "
                "give as many"
            )
        if self.importances and (min(self.importances) < 0 or max(self.importances) == 0):
            raise ValueError("importances must be 0 or more, and one of them more than 0")
        return self

    def files(self) -> list[Path]:
        return []

    @classmethod
    def bare_names(cls) -> dict[str, dict[str, Any]]:
        return {"synthetic": {}}

    @classmethod
    def example(cls, folder: Path) -> Self:
        return cls(rows=1000, cardinalities=(40, 9, 3))

    def open(self) -> Source:
        from sharkbench.data.readers.synthetic import synthetic_source

        return synthetic_source(self)
