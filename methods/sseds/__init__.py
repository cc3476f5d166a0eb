from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model
    from sharkbench.tables.parts import Table


class SSEDS(Method):
    r"""Single-shot embedding dimension search: one pass over a trained model scores the columns of each field.

    .. math:: s_{fj} = \frac{|g_{fj}|}{\sum |g|}, \qquad
              g = \frac{\partial L(M \odot E)}{\partial M} \Big|_{M = 1}, \quad M \in \mathbb{R}^{F \times D}

    Columns are kept by falling :math:`s` until the budget is met, and the model is retrained with rows that hold the
    kept columns only, times a matrix that maps them to the common width.

    Published: the score from one pass, the budget, retraining, matrices where widths must be equal. Ours (the paper
    leaves them open, and public code differs): batches of the validation split, magnitudes batch by batch; a column
    costs the bytes that it takes, and columns that no longer fit are skipped (a column of a field that is nearly the
    whole table may exceed the remaining bytes); small fields whose matrix would cost more than their other columns stay
    uncompressed, fields without a column leave the model; matrices start as the selection of the kept columns and are
    trained, so that rows start as those of the initial table without the other columns; first-order weights are columns
    like others.
    """

    name: Literal["sseds"] = "sseds"

    order: Literal["score", "score_per_byte"] = "score"
    """Rank columns by their score, or by their score per byte (ours)."""
    batch_size: PositiveInt = 4096
    """Samples per batch when columns are scored."""
    retrain: Literal["initial", "continue", "none"] = "initial"
    """Retrain the kept columns from the initial table with a new backbone, fine-tune their trained weights, or leave
    them."""
    epochs: NonNegativeInt = 2
    """Epochs of fine-tuning, at most, with ``retrain: continue`` (ours)."""
    learning_rate_factor: PositiveFloat = 0.3
    """Learning rates of fine-tuning relative to the recipe's (ours)."""

    title: ClassVar[str] = "columns of fields pruned by one look at their gradient"
    paper: ClassVar[str] = "Qu et al., SIGIR 2022, arXiv:2204.03281 (SSEDS)"
    year: ClassVar[int] = 2022
    family: ClassVar[Family] = "mixed dimension"
    leaves_fields: ClassVar[bool] = True

    @property
    def takes(self) -> Takes:
        return "model"

    def size(self, budget: int, shape: TableShape) -> Size:
        from sharkbench.tables.dimensions import field_bytes, whole_if_no_larger

        width = shape.width
        rows = [field.cardinality for field in shape.schema.fields]
        least = min(field_bytes(n, whole_if_no_larger(n, 1, width), width) for n in rows)
        if least > budget:
            raise Infeasible(f"one column of the smallest field takes {least:,} bytes, the budget is {budget:,}")
        return Size()

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.backbones.base import Backbone
        from sharkbench.contract.passes import counted, device_of, fine_tune
        from sharkbench.model.model import Model
        from sharkbench.tables.kept import keep_fields, rows_of

        from .columns import column_saliency, columns_within

        model, valid = bench.start_model(), bench.dataset.splits["valid"]
        fields = model.embedding.fields
        with counted(bench, len(valid)):
            model.to(device_of(bench))
            scores = column_saliency(model, valid, bench.task, self.batch_size)
            model.cpu()
        rows = [bench.schema.fields[f].cardinality for f in fields]
        columns = columns_within(scores, rows, bench.room, per_byte=self.order == "score_per_byte")
        kept = {f: own for f, own in zip(fields, columns, strict=True) if own}
        bench.note("columns", self._noted(bench, scores, fields, columns))
        assert isinstance(model.backbone, Backbone)
        sliced = self._sliced(bench, rows_of(model.embedding, list(kept)), kept)
        pruned = Model(sliced, model.backbone.drop_fields([fields.index(f) for f in kept]))
        before = bench.value(pruned)
        if self.retrain == "initial":
            initial = rows_of(keep_fields(bench.full_table(), list(kept)))
            pruned = bench.model(self._sliced(bench, initial, kept))
            bench.train(pruned, stage="retrain")
            after = bench.value(pruned)
        else:
            epochs = self.epochs if self.retrain == "continue" else 0
            after = fine_tune(
                bench, pruned, stage="fine-tune", epochs=epochs, learning_rate_factor=self.learning_rate_factor
            )
        name = bench.metric.name
        bench.note("retraining", [{"retrain": self.retrain, f"{name}_before": before, f"{name}_after": after}])
        return pruned

    def _sliced(self, bench: Workbench, table: Any, kept: dict[int, list[int]]) -> Table:
        """The ``kept`` columns of ``table`` (rows of the kept fields, one after the other), at their positions."""
        import torch

        from sharkbench.tables.projected import ProjectedRows

        with bench.seeded("table"):
            rows = ProjectedRows(
                bench.schema, list(kept), bench.width, [len(own) for own in kept.values()], bench.init_std
            )
        sizes = [bench.schema.fields[f].cardinality for f in kept]
        for (f, columns), part in zip(kept.items(), table.split(sizes), strict=True):
            short = len(columns) < bench.width
            rows.assign(f, part[:, columns], torch.eye(bench.width)[columns] if short else None)
        return bench.table(rows)

    @staticmethod
    def _noted(bench: Workbench, scores: Any, fields: Any, columns: list[list[int]]) -> list[dict[str, Any]]:
        share = scores / scores.sum()
        return [
            {
                "field": bench.schema.fields[f].name,
                "rows": bench.schema.fields[f].cardinality,
                "dimension": len(own),
                "columns": " ".join(map(str, own)),
                "score": share[i].sum().item(),
                "score_kept": share[i, own].sum().item(),
            }
            for i, (f, own) in enumerate(zip(fields, columns, strict=True))
        ]

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"order": trial.suggest_categorical("order", ["score", "score_per_byte"])}
