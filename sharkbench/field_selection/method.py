"""What all methods of field selection share: everything but the ranking."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


class FieldSelection(Method):
    """Prune fields of a trained model. A subclass defines how fields are scored; the loop is this project's own.

    Each round scores the fields, drops those ranked lowest, and fine-tunes (undone where no validation gains from it),
    until the byte budget is met, ``keep`` fields are left, or validation has lost more than ``tolerance``. A dropped
    field leaves the model: its table, its lookup and its input to the backbone.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    order: Literal["score", "score_per_byte"] = "score"
    """Rank fields by their score, or by their score per byte of their table (ours)."""
    combine: Literal["mean", "max"] = "mean"
    """With several labels, a field's score is the mean or the largest of its scores per label (ours)."""
    schedule: Literal["iterative", "one_shot"] = "iterative"
    """``iterative`` drops some fields, fine-tunes and scores again; ``one_shot`` ranks once and retrains the kept
    fields from scratch."""
    shrink: float = Field(default=0.5, gt=0, lt=1)
    """A round keeps this share of the bytes, or of the fields where ``keep`` or ``tolerance`` decide (ours)."""
    keep: PositiveInt | None = None
    """Prune down to so many fields, whatever their bytes."""
    tolerance: NonNegativeFloat | None = None
    """Prune as long as the primary metric on validation (mean over labels) loses no more than this."""
    epochs: NonNegativeInt = 1
    """Epochs of fine-tuning after each round, at most (ours)."""
    learning_rate_factor: PositiveFloat = 1.0
    """Learning rates of fine-tuning relative to the recipe's (ours)."""
    compare_shuffles: NonNegativeInt = 0
    """Also compute exact permutation importance with so many shuffles, and note its rank correlation with the
    scores."""

    family: ClassVar[Family] = "field selection"
    leaves_fields: ClassVar[bool] = True

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.keep is not None and self.tolerance is not None:
            raise ValueError("state either keep or tolerance, not both")
        if self.tolerance is not None and self.schedule == "one_shot":
            raise ValueError("a tolerance is reached step by step; use schedule: iterative")
        return self

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.keep is None and self.tolerance is None

    def size(self, budget: int, shape: TableShape) -> Size:
        from sharkbench.formats.dense import Dense

        smallest = Dense.bytes_of(min(field.cardinality for field in shape.schema.fields), shape.width)
        if smallest > budget:
            raise Infeasible(f"the smallest field alone takes {smallest:,} bytes, the budget is {budget:,}")
        return Size()

    @abstractmethod
    def scores(self, bench: Workbench, model: Model) -> Tensor:
        """Importance of each field to the trained ``model``: ``[F]`` or, by label, ``[F, T]``; higher is better.

        Fields are in the order of ``model.embedding.fields``; ``model`` is on the recipe's device and must not change.
        """

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.field_selection.pruning import prune

        return prune(bench, self)
