from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size, small_field_rows
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model
    from sharkbench.tables.projected import ProjectedRows


@dataclass(frozen=True)
class LowRankSize(Size):
    ranks: tuple[int, ...] | None
    """Weights per row of each field; ``None`` where the trained table decides them."""


class LowRank(Method):
    r"""Low-rank factors per field: the trained table projected to its strongest axes, then fine-tuned.

    .. math:: e_f(i) = r_i P_f + b_f, \qquad
              \min_{r, P, b} \sum_i p_i \lVert e_i - r_i P_f - b_f \rVert^2, \quad
              P_f \in \mathbb{R}^{k_f \times D}

    with :math:`p_i` the frequency of row :math:`i`, so that rows that are read often have the smallest error. The
    minimum is a truncated singular value decomposition of the rows around their mean, scaled by :math:`\sqrt{p_i}`
    (Eckart and Young, 1936); weights by frequency in low-rank tables are those of Chen et al. (GroupReduce, NeurIPS
    2018).

    This project's own choices: a decomposition per field (not per group of words), with a bias; the budget is spent
    axis by axis, on the field where an axis holds most energy per byte; a row's first-order weights are columns like
    the others; fine-tuning is undone where no validation gains from it. With ``start: scratch`` factors of equal rank
    are trained from a random start instead. A row has at least one value: budgets below about :math:`1/D` are out of
    reach.
    """

    name: Literal["low_rank"] = "low_rank"
    start: Literal["trained", "scratch"] = "trained"
    """Decompose a trained table, or train factors from scratch."""
    weights: Literal["frequency", "equal"] = "frequency"
    """Weight p of each row's error in the decomposition."""
    ranks: tuple[PositiveInt, ...] | None = None
    """Rank k of each field, its weights per row; the budget decides unless given."""
    epochs: NonNegativeInt = 2
    """Epochs of fine-tuning, at most; 0 leaves the decomposition as it is (ours)."""
    learning_rate_factor: PositiveFloat = 1.0
    """Learning rates of fine-tuning relative to the recipe's (ours: fine-tuning without a gain is undone)."""

    title: ClassVar[str] = "each field's table cut to its strongest axes"
    paper: ClassVar[str] = "Chen et al., NeurIPS 2018, arXiv:1806.06950 (GroupReduce)"
    year: ClassVar[int] = 2018
    family: ClassVar[Family] = "decomposition"

    @property
    def takes(self) -> Takes:
        return "model" if self.start == "trained" else "fields"

    @property
    def budgeted(self) -> bool:
        return self.ranks is None

    def size(self, budget: int, shape: TableShape) -> LowRankSize:
        from sharkbench.tables.dimensions import refuse_below_one, sized_to_budget

        rows = [field.cardinality for field in shape.schema.fields]
        if self.ranks is not None:
            return LowRankSize(self.ranks)
        if self.start == "trained":
            # The ranks are solved from the axes of the trained table.
            refuse_below_one(rows, shape.width, budget, what="low_rank", bias=True)
            return LowRankSize(None)
        whole = small_field_rows(shape, budget)

        def wanted(t: float) -> list[float]:
            return [shape.width * (1.0 if n <= whole else t) for n in rows]

        return LowRankSize(sized_to_budget(wanted, rows, shape.width, budget, what="low_rank", bias=True))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import fine_tune
        from sharkbench.model.model import Model

        ranks = self.size(bench.room, bench.shape).ranks
        if self.start == "scratch" and ranks is not None:
            model = bench.model(bench.table(self._table(bench, bench.fields, ranks)))
            bench.train(model)
        else:
            trained = bench.start_model()
            model = Model(bench.table(self._decomposed(bench, trained, ranks)), trained.backbone)
            fine_tune(
                bench,
                model,
                stage="fine-tune",
                epochs=self.epochs,
                learning_rate_factor=self.learning_rate_factor,
            )
        return model

    def _table(self, bench: Workbench, fields: Sequence[int], ranks: Sequence[int]) -> ProjectedRows:
        from sharkbench.tables.projected import ProjectedRows

        if len(ranks) != len(fields) or max(ranks) > bench.width:
            raise InputError(
                f"low_rank: 'ranks' has {len(ranks)} numbers up to {max(ranks)}; the table has {len(fields)} fields of "
                f"up to {bench.width}"
            )
        with bench.seeded("table"):
            return ProjectedRows(bench.schema, fields, bench.width, ranks, bench.init_std, bias=True)

    def _decomposed(self, bench: Workbench, trained: Model, ranks: Sequence[int] | None) -> ProjectedRows:
        """The rows of ``trained`` projected to ``ranks`` axes, or to as many as the budget allows."""
        import torch

        from sharkbench.tables.kept import rows_of

        from .axes import Axes, ranks_by_energy

        fields, counts = trained.embedding.fields, bench.schema.frequencies
        tables, axes = {}, []
        for f in fields:
            tables[f] = rows_of(trained.embedding, [f])
            weights = torch.ones(len(tables[f]))
            if self.weights == "frequency" and counts is not None:
                # Plus one: a row that training never read may still be looked up.
                read = counts[bench.schema.offsets[f] : bench.schema.offsets[f + 1]]
                weights += torch.from_numpy(read).float()
            axes.append(Axes.of(tables[f], weights))
        sizes = [len(tables[f]) for f in fields]
        if ranks is None:
            ranks = ranks_by_energy(axes, sizes, bench.width, bench.room, what="low_rank")
        table, notes = self._table(bench, fields, ranks), []
        for f, own, rank in zip(fields, axes, ranks, strict=True):
            kept = float(own.energy[:rank].sum() / own.energy.sum().clamp(min=1e-30))
            name = bench.schema.fields[f].name
            notes.append({"field": name, "rows": len(tables[f]), "rank": rank, "energy_kept": kept})
            if rank == bench.width:
                table.assign(f, tables[f])
            else:
                table.assign(f, *own.cut(tables[f], rank))
        bench.note("ranks", notes)
        return table

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "epochs": trial.suggest_int("epochs", 0, 3),
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.03, 1.0, log=True),
        }
