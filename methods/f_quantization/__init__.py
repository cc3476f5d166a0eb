from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

    from .rows import TieredRows

Tier = Literal["dropped", "int2", "int4", "int8", "bf16", "fp16", "fp32"]


class FQuantization(Method):
    r"""Row-wise mixed precision: each row has a priority, which decides how many bits the row gets.

    .. math:: p_i \leftarrow (1 - \beta) p_i + \beta \, (\alpha \cdot \text{positives}_i + \text{negatives}_i), \qquad
              w_i \leftarrow D_{t(i)}\bigl(Q_{t(i)}(w_i)\bigr) \text{ after each step that touched row } i

    where positives and negatives are the numbers of positive and negative samples of a step that read row :math:`i`,
    :math:`t(i)` is the tier of its priority, and :math:`Q_t` and :math:`D_t` quantize to the tier and back.

    Published: access frequency with separate weights for positives and negatives and time decay decides between int8,
    fp16 and fp32. The formula above, all constants, and the rest are a reconstruction of ours: a sample with several
    labels is positive to the degree of their mean; priorities start from one pass over the training split; thresholds
    are given, or else tiers lower the priority-weighted rounding error as far as the budget allows
    (:func:`~sharkbench.methods.f_quantization.tiers.within_bytes`); other tiers than those three; stochastic rounding
    in training, and rounding of all rows to the nearest before each validation; tiers are reassigned every
    ``decide_every`` steps; training starts from a trained model, and fine-tuning is undone where no validation gains
    from it.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Literal["f_quantization"] = "f_quantization"

    tiers: tuple[Tier, ...] = Field(default=("int8", "fp16", "fp32"), min_length=1, max_length=8)
    """Precisions t that rows may be stored in, lowest priority first."""
    thresholds: tuple[PositiveFloat, ...] | None = None
    """Priorities p at which the next tier begins, one fewer than tiers; unless given, the budget decides."""
    alpha: PositiveFloat = 2.0
    """Weight alpha of a positive sample in the priority; a negative sample has weight 1 (ours)."""
    beta: float = Field(default=1e-3, ge=0, lt=1)
    """Decay rate beta of priorities per step; with 0 they are plain counts (ours)."""
    assign: Literal["priority", "random", "inverted"] = "priority"
    """How rows are assigned to tiers; ``random`` and ``inverted`` keep the sizes of the tiers, for ablations."""
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """How touched rows are rounded in training (ours)."""
    start: Literal["trained", "scratch"] = "trained"
    """Fine-tune a trained model, or train from scratch with the tiers in place."""
    epochs: NonNegativeInt = 2
    """Epochs of fine-tuning, at most; with 0 the trained model is rounded and not fine-tuned (ours)."""
    learning_rate_factor: PositiveFloat = 0.1
    """Learning rates of fine-tuning relative to the recipe's (ours: of 0.3, 0.1, 0.03 and 0.01 the best on validation,
    on KuaiRand and on a million generated rows)."""
    decide_every: PositiveInt = 100
    """Training steps between two assignments of rows to tiers (ours)."""

    title: ClassVar[str] = "rows in tiers of precision by priority"
    paper: ClassVar[str] = "Zhang et al., CIKM 2023, arXiv:2308.09395 (SHARK, F-Quantization)"
    year: ClassVar[int] = 2023
    family: ClassVar[Family] = "quantization"
    unsharded: ClassVar[str] = "tiers are decided, and rows rounded, by what all processes have read"

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if len(set(self.tiers)) < len(self.tiers):
            raise ValueError("a tier stands in the list more than once")
        if self.thresholds is not None:
            if len(self.thresholds) != len(self.tiers) - 1:
                raise ValueError(f"{len(self.tiers)} tiers need {len(self.tiers) - 1} thresholds")
            if list(self.thresholds) != sorted(self.thresholds):
                raise ValueError("thresholds must ascend")
        return self

    @property
    def takes(self) -> Takes:
        return "model" if self.start == "trained" else "fields"

    @property
    def budgeted(self) -> bool:
        return self.thresholds is None and len(self.tiers) > 1

    def size(self, budget: int, shape: TableShape) -> Size:
        least = self.smallest_bytes(shape)
        if least > budget:
            raise Infeasible(
                f"{shape.rows:,} rows take at least {least:,} bytes, the budget is {budget:,}; "
                "list a smaller tier, or 'dropped'"
            )
        return Size()

    def smallest_bytes(self, shape: TableShape, rows: int | None = None) -> int:
        """The fewest packed bytes of ``rows`` rows (all of them, unless given) of a table."""
        from .tiers import smallest_bytes

        return smallest_bytes(self.tiers, shape.rows if rows is None else rows, shape.width, shape.first_order)

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted, fine_tune
        from sharkbench.data.loader import batches
        from sharkbench.model.model import Model

        from .rows import TrackPriorities

        rows, backbone = self._rows(bench)
        table = bench.table(rows)
        priorities = TrackPriorities(table, rows, self.decide_every)
        train = bench.dataset.splits["train"]
        with counted(bench, len(train)):
            for batch in batches(train, bench.recipe.batch_size):
                priorities.observe(batch)
        rows.decide()
        model = Model(table, backbone)
        if self.start == "scratch":
            bench.train(model, callbacks=[priorities])
        else:
            fine_tune(
                bench,
                model,
                stage="fine-tune",
                epochs=self.epochs,
                learning_rate_factor=self.learning_rate_factor,
                callbacks=[priorities],
            )
        bench.note("tiers", rows.shares(bench.schema.frequencies))
        bench.note("training state", [{"priority_bytes": rows.priorities.nbytes, "rows": len(rows.weight)}])
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.03, 1.0, log=True),
            "epochs": trial.suggest_int("epochs", 1, 4),
            "alpha": trial.suggest_float("alpha", 1.0, 16.0, log=True),
            "beta": trial.suggest_float("beta", 1e-5, 1e-1, log=True),
        }

    def _rows(self, bench: Workbench) -> tuple[TieredRows, Any]:
        from sharkbench.tables.kept import rows_of

        from .priorities import RowPriorities
        from .rows import TieredRows

        model = bench.model(bench.full_table()) if self.start == "scratch" else bench.start_model()
        rows = rows_of(model.embedding)
        layer = TieredRows(
            bench.schema,
            model.embedding.fields,
            rows,
            tiers=self.tiers,
            tail=bench.first_order,
            priorities=RowPriorities(len(rows), self.alpha, self.beta),
            choose=self._chooser(bench, len(rows)),
            rounding=self.rounding,
            seed=bench.seed,
        )
        return layer, model.backbone

    def _chooser(self, bench: Workbench, rows: int) -> Any:
        import torch

        from .tiers import by_threshold, within_budget

        places = torch.randperm(rows, generator=bench.generator("random tiers")) if self.assign == "random" else None

        def choose(priorities: Tensor) -> Tensor:
            if not self.budgeted:
                tiers = by_threshold(priorities, self.thresholds or ())
            else:
                tiers = within_budget(priorities, self.tiers, bench.width, bench.first_order, bench.room)
            if places is not None:
                return tiers[places.to(tiers.device)]
            if self.assign == "inverted":
                order = priorities.argsort(stable=True)
                return tiers.scatter(0, order, tiers[order].flip(0))
            return tiers

        return choose
