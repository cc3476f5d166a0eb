from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class DeepLightSize(Size):
    kept: int
    """Weights of the table that are kept."""


class DeepLight(Method):
    r"""Prune and train in turns, to a rising sparsity; weights pruned by mistake may grow back.

    .. math:: s(n) = S \, (1 - D^{n / U})

    is the share of the table's weights that the pruning at step :math:`n` sets to zero, those of smallest magnitude
    over all fields together; until the next pruning all weights are trained. It starts from a trained model.

    Published: the schedule (:math:`D = 0.99`, :math:`U = 100` steps of 2048 samples, a pruning every 10 steps), one
    threshold for the table, regrowth, no training from scratch afterwards. Ours: the table alone is pruned, the network
    stays dense; :math:`S` is solved from the bytes of the packed rows, positions included; the pace follows from the
    length of the training, so that small data sets reach :math:`S` too; a validation counts once the table is small
    enough, and weights are pruned right before it; first-order weights are weights of the row like others. Sizes have
    one gap: from 32,768 kept weights on, each row's counter takes four bytes instead of two.
    """

    name: Literal["deeplight"] = "deeplight"

    kept: PositiveInt | None = None
    """Number of weights of the table that are kept in the end, in place of S; solved from the budget unless given."""
    values: Literal["fp32", "fp16"] = "fp32"
    """Data type that a kept weight is stored in."""
    every: PositiveInt = 10
    """Training steps between two prunings."""
    epochs: PositiveInt = 2
    """Epochs of pruning and training, at most (ours)."""
    ramp: float = Field(default=0.5, gt=0, le=1)
    """Share of these epochs after which the schedule reaches S, in place of D and U (ours)."""
    learning_rate_factor: PositiveFloat = 0.1
    """Learning rates relative to the recipe's (ours)."""

    title: ClassVar[str] = "numbers pruned gradually, free to grow back"
    paper: ClassVar[str] = "Deng et al., WSDM 2021, arXiv:2002.06987 (DeepLight)"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "pruning"
    unsharded: ClassVar[str] = "which weights are the largest is decided over the whole table"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.kept is None

    def size(self, budget: int, shape: TableShape) -> DeepLightSize:
        from sharkbench.tables.masked import kept_within

        return DeepLightSize(self.kept or kept_within(budget, shape.rows, shape.width, self.values))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.model.model import Model
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.masked import MaskedRows, largest

        from .rows import PruneGradually, RegrowingRows

        kept = self.size(bench.room, bench.shape).kept
        recipe, start = bench.recipe, bench.start_model()
        fields = start.embedding.fields
        rows = RegrowingRows(bench.schema, fields, rows_of(start.embedding), kept)
        steps = self.epochs * ceil(len(bench.dataset.splits["train"]) / recipe.batch_size)
        pruning = PruneGradually(rows, kept, ramp=max(int(self.ramp * steps), 1), every=self.every)
        model = Model(bench.table(rows), start.backbone)
        bench.train(
            model,
            stage="prune",
            callbacks=[pruning],
            epochs=self.epochs,
            learning_rate=recipe.learning_rate * self.learning_rate_factor,
            embedding_learning_rate=recipe.embedding_learning_rate
            and recipe.embedding_learning_rate * self.learning_rate_factor,
        )
        bench.note("pruning", pruning.path)
        table = rows.weight.detach()
        mask = largest(table.abs(), kept)
        pruned = MaskedRows(bench.schema, fields, table, mask, values=self.values)
        return Model(bench.table(pruned), model.backbone)

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "values": trial.suggest_categorical("values", ["fp32", "fp16"]),
            "ramp": trial.suggest_float("ramp", 0.1, 0.9),
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.03, 3.0, log=True),
        }
