from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class MagnitudeSize(Size):
    kept: int
    """Weights of the table that are kept."""


class Magnitude(Method):
    r"""The weights of smallest magnitude of a trained table pruned in one shot, the others trained further.

    .. math:: M_{ij} = [\, |w_{ij}| \text{ is among the } k \text{ largest of the table} \,], \qquad
              e_i = M_i \circ w_i

    The plain baseline of every method that learns what to prune, so it is tuned like one. Published: train, prune,
    train the remaining weights. Ours: :math:`k` is solved from the bytes of the packed rows, positions included;
    first-order weights are weights of the row like others and are pruned by the same rule; fine-tuning is undone where
    no validation gains from it. Sizes have one gap: from 32,768 kept weights on, each row's counter takes four bytes
    instead of two.
    """

    name: Literal["magnitude"] = "magnitude"

    kept: PositiveInt | None = None
    """Number k of weights of the table that are kept; solved from the budget unless given."""
    values: Literal["fp32", "fp16"] = "fp32"
    """Data type that a kept weight is stored in."""
    retrain: Literal["initial", "continue", "none"] = "continue"
    """Retrain the kept weights from the initial table with a new backbone, fine-tune them, or leave them."""
    epochs: NonNegativeInt = 2
    """Epochs of fine-tuning, at most (ours)."""
    learning_rate_factor: PositiveFloat = 0.3
    """Learning rates of fine-tuning relative to the recipe's (ours)."""

    title: ClassVar[str] = "the smallest numbers pruned at one shot"
    paper: ClassVar[str] = "Han et al., NeurIPS 2015, arXiv:1506.02626"
    year: ClassVar[int] = 2015
    family: ClassVar[Family] = "pruning"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.kept is None

    def size(self, budget: int, shape: TableShape) -> MagnitudeSize:
        from sharkbench.tables.masked import kept_within

        return MagnitudeSize(self.kept or kept_within(budget, shape.rows, shape.width, self.values))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import retrain_on_mask
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.masked import largest

        kept = self.size(bench.room, bench.shape).kept
        model = bench.start_model()
        table = rows_of(model.embedding)
        return retrain_on_mask(
            bench,
            model,
            table,
            largest(table.abs(), kept),
            how=self.retrain,
            epochs=self.epochs,
            learning_rate_factor=self.learning_rate_factor,
            values=self.values,
        )

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "values": trial.suggest_categorical("values", ["fp32", "fp16"]),
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.03, 3.0, log=True),
        }
