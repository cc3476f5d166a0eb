from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

Bits = Literal[8, 4, 2]


@dataclass(frozen=True)
class ALPTSize(Size):
    bits: Bits
    cache: float
    """Share of rows in fp32."""


class ALPT(Method):
    r"""Adaptive low-precision training: the table holds integers in training, and their step size is learned.

    .. math:: w' &= \hat w - \eta \nabla_{\hat w} L, \qquad \hat w = \Delta \, c \\
              \Delta' &= \Delta - \eta_\Delta \, g \, \nabla_\Delta
                  L\bigl(\Delta \operatorname{clip}(\operatorname{round}(w' / \Delta))\bigr), \qquad
              g = 1 / \sqrt{B D (2^{b-1} - 1)} \\
              c &\leftarrow \operatorname{clip}(\lfloor w' / \Delta' + u \rfloor), \quad u \sim U(0, 1)
                  \text{ per number}

    Three steps for each batch: first, the optimizer's step in float32 on the batch's rows; second, another pass over
    the batch with rows rounded to the nearest, for the gradient of the step sizes (a clipped weight contributes its
    bound, any other the difference to its code); third, stochastic rounding with the new step sizes. Codes are from
    :math:`-2^{b-1}` to :math:`2^{b-1} - 1`.

    Published: the above, a step size per row or one for many, 8 bits without loss, and Adam with a small learning rate
    for the step sizes. This project's own choices: the initial :math:`\Delta = 2 \, \overline{|w|} / \sqrt{2^{b-1}}` is
    from the first author's later code, with the mean of the initial distribution; the learning rate of the step sizes
    is in proportion to that of the table, and falls with that of the model. A step size per row is an fp16 value in the
    row, rounded stochastically as well; with a step size per field, the field's rows outside the batch scale with it.
    First-order weights are fp16 beside the codes. Bits are the most that fit the budget; with a step size per row, the
    remaining bytes keep the rows read most often in fp32 (``cache``), to which the three steps do not apply. With a
    step size per field there are no such rows, so there are only three sizes, one for each choice of ``bits``: a budget
    between two of them is not used up.

    Only rows of the batch change, whatever the recipe: with ``optimizer: adam`` the table is trained by the lazy form
    of Adam, and weight decay acts on the batch's rows (and on the row of missing values of a field with several values,
    which fills the empty slots of a sample). The optimizers' state is fp32 and comes on top of the table.
    """

    name: Literal["alpt"] = "alpt"
    bits: Bits | None = None
    """Bits of a weight, b; the most that fit the budget unless given."""
    step: Literal["row", "field"] = "row"
    """Whether each row or each field has its own step size Delta."""
    learned: bool = True
    """Whether the step sizes Delta are learned; otherwise they keep their initial value, and there is no second pass.
    Fixed step sizes must suit the trained rows: where these outgrow a small ``init_std`` (1e-4, say), give
    ``initial_step``."""
    initial_step: PositiveFloat | None = None
    """Initial step sizes Delta; from the standard deviation of the initial rows unless given."""
    step_learning_rate: PositiveFloat | None = None
    """Learning rate eta_Delta of the step sizes; the table's divided by 2^bits unless given (2e-5 and 1e-6 in two
    public codes, for 8 bits)."""
    cache: float | None = Field(default=None, ge=0, le=1)
    """Share of rows kept in fp32; what the budget leaves unless given, 0 for none. None with a step size per field."""

    title: ClassVar[str] = "integers while it trains, their step size learned"
    paper: ClassVar[str] = "Li et al., AAAI 2023, arXiv:2212.05735"
    year: ClassVar[int] = 2023
    family: ClassVar[Family] = "quantization"
    unsharded: ClassVar[str] = "the step sizes learn from a second pass over the batch"
    saves_training_memory: ClassVar[bool] = True

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.step == "field" and self.cache:
            raise ValueError("rows with a step per field are not cached; leave out cache, or take step: row")
        return self

    @property
    def budgeted(self) -> bool:
        return self.bits is None or (self.cache is None and self.step == "row")

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "bits": trial.suggest_categorical("bits", [8, 4, 2]),
            "step_learning_rate": trial.suggest_float("step_learning_rate", 1e-6, 1e-3, log=True),
        }

    def size(self, budget: int, shape: TableShape) -> ALPTSize:
        from sharkbench.tables.bit_budget import fit_bits

        from .rows import FieldSteps, RowSteps

        size_of = RowSteps.size if self.step == "row" else FieldSteps.size
        # Rows of first-order weights alone have no values to code.
        choices: tuple[Bits, ...] = (8, 4, 2) if shape.dimension else ()
        sizes = {b: size_of(b, shape) for b in choices if self.bits in (None, b)}
        cache = self.cache if self.step == "row" else 0.0
        bits, hot = fit_bits(budget, shape, sizes, cache, what=self.name)
        return ALPTSize(bits, hot / shape.rows)

    def compress(self, bench: Workbench) -> Model:
        from functools import partial
        from math import pi, sqrt

        import torch

        from sharkbench.tables.code_store import SeededGenerator
        from sharkbench.tables.hot_rows import with_hot_rows
        from sharkbench.tables.low_precision import LowPrecisionRows, PackedStore
        from sharkbench.training.optimizers import LazyAdam

        from .rows import FieldSteps, RowSteps
        from .steps import LearnedSteps, ThreeSteps

        size = self.size(bench.room, bench.shape)
        chance, tail = SeededGenerator(bench.seed, "rounding"), bench.first_order
        cold: RowSteps | FieldSteps
        if self.step == "row":
            cold = RowSteps(bench.shape.rows, bench.width, tail, size.bits, chance)
        else:
            cold = FieldSteps(bench.shape.schema, bench.width, tail, size.bits, chance)
        step = self.initial_step or 2 * bench.init_std * sqrt(2 / pi) / sqrt(2 ** (size.bits - 1))
        with bench.seeded("table"):
            cold.fill(lambda count: torch.empty(count, bench.width).normal_(std=bench.init_std), step)
        store: PackedStore = cold
        if isinstance(cold, RowSteps):
            hot = round(size.cache * len(cold))
            store = with_hot_rows(cold, hot, "frequency", bench.shape.schema.frequencies)
        if not self.learned:
            model = bench.model(bench.table(LowPrecisionRows(bench.schema, bench.fields, store)))
            bench.train(model)
            return model
        rate = bench.recipe.embedding_learning_rate or bench.recipe.learning_rate
        adam = partial(LazyAdam, lr=self.step_learning_rate or rate / 2**size.bits)
        rows = LearnedSteps(bench.schema, bench.fields, store, cold, adam)
        model = bench.model(bench.table(rows))
        bench.train(model, step=ThreeSteps(rows))
        return model
