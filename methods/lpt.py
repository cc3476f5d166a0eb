from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.codec import RowCodec
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

Bits = Literal[16, 8, 4, 2]


@dataclass(frozen=True)
class LPTSize(Size):
    bits: int
    cache: float
    """Share of rows in fp32."""


class LPT(Method):
    r"""Low-precision training: the table holds integers in training, and no float copy of it exists.

    .. math:: w \leftarrow l_i + s_i \Big\lfloor \frac{w' - l_i}{s_i} + u \Big\rfloor, \quad u \sim U(0, 1)
              \text{ per number}, \qquad l_i = \min w'_i,\; s_i = \frac{\max w'_i - l_i}{2^b - 1}

    with :math:`w'_i` a row of the batch after the optimizer's step in float32. Rounding to the nearest instead loses
    every update below half a step.

    Published: training on the integers, stochastic rounding (Xu et al., SIGMOD 2021; Yang et al.), an fp32 cache of the
    rows read most often or most recently (Yang et al.), whose rows keep their small updates. Public kernels for Yang et
    al.'s method (FBGEMM) refit the range of a row at each write, as done here; for a fixed step size take ``alpt`` with
    ``learned: false``.

    This project's own choices: range and offset are fp16, rounded stochastically as well; 16 bits are fp16 values, each
    with its own step; first-order weights are fp16 beside the codes. The cache is served too, its rows stored once, in
    fp32. Bits are the most that fit the budget, and the cache takes the remaining bytes. By frequency, the hot rows are
    those of the training split; by recency, a row has 32 slots to choose from and takes the one written longest ago.

    Only rows of the batch change, whatever the recipe: with ``optimizer: adam`` the table is trained by the lazy form
    of Adam, and weight decay acts on the batch's rows (and on the row of missing values of a field with several values,
    which fills the empty slots of a sample). The optimizer's state is fp32 and comes on top of the table.
    """

    name: Literal["lpt"] = "lpt"
    bits: Bits | None = None
    """Bits of a weight, b; the most that fit the budget unless given."""
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    """How rows are rounded when they are written back."""
    cache: float | None = Field(default=None, ge=0, le=1)
    """Share of rows kept in fp32; what the budget leaves unless given, 0 for none."""
    cache_by: Literal["frequency", "recency"] = "frequency"
    """Which rows the cache holds: those read most often in training, or those written most recently."""

    title: ClassVar[str] = "integers while it trains, an fp32 cache of hot rows"
    paper: ClassVar[str] = "Xu et al., SIGMOD 2021; Yang et al., 2020, arXiv:2010.11305"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "quantization"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.bits is None or self.cache is None

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "bits": trial.suggest_categorical("bits", [16, 8, 4, 2]),
            "cache_by": trial.suggest_categorical("cache_by", ["frequency", "recency"]),
        }

    def size(self, budget: int, shape: TableShape) -> LPTSize:
        from sharkbench.tables.bit_budget import CodedSize, fit_bits

        # Rows of first-order weights alone have no values to code.
        choices = [16, 8, 4, 2] if shape.dimension else [16]
        codecs = {b: _codec(b, shape.first_order) for b in choices if self.bits in (None, b)}
        sizes = {b: CodedSize(codec.row_bytes(shape.width)) for b, codec in codecs.items()}
        bits, hot = fit_bits(budget, shape, sizes, self.cache, what=self.name)
        return LPTSize(bits, hot / shape.rows)

    def compress(self, bench: Workbench) -> Model:
        import torch

        from sharkbench.tables.code_store import CodeStore, SeededGenerator
        from sharkbench.tables.hot_rows import with_hot_rows
        from sharkbench.tables.low_precision import LowPrecisionRows

        size = self.size(bench.room, bench.shape)
        codec, chance = _codec(size.bits, bench.first_order), SeededGenerator(bench.seed, "rounding")
        cold = CodeStore(bench.shape.rows, bench.width, codec, self.rounding, chance)
        with bench.seeded("table"):
            cold.fill(lambda count: torch.empty(count, bench.width).normal_(std=bench.init_std))
        store = with_hot_rows(cold, round(size.cache * len(cold)), self.cache_by, bench.shape.schema.frequencies)
        model = bench.model(bench.table(LowPrecisionRows(bench.schema, bench.fields, store)))
        bench.train(model)
        return model


def _codec(bits: int, tail: int) -> RowCodec:
    from sharkbench.formats.codec import RowCodec

    if bits == 16:
        return RowCodec(dtype="fp16")
    names: dict[int, Literal["int8", "int4", "int2"]] = {8: "int8", 4: "int4", 2: "int2"}
    return RowCodec(dtype=names[bits], tail=tail)
