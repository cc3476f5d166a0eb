from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class DHESize(SmallFieldsSize):
    hashes: int
    hidden: tuple[int, ...]
    """Widths of the hidden layers."""


class DHE(WithSmallFields):
    r"""Deep hash embedding (Kang et al., "Learning to Embed Categorical Features without Embedding Tables for
    Recommendation", KDD 2021).

    .. math:: e(i) = W_L \, a\bigl( \dots a(W_1 h(i) + b_1) \dots \bigr) + b_L, \qquad
              h(i) = \bigl(t(h_1(i)), \dots, t(h_k(i))\bigr)

    There is no table: :math:`k` fixed hash functions encode the id, and a network decodes it, :math:`a` being batch
    norm and Mish. The transform :math:`t` makes hashes uniform in :math:`[-1, 1)` or standard normal (Box-Muller). The
    size does not depend on the number of ids.

    Published: 1,024 hash functions from a universal family, five hidden layers. This project's own choices: a 64-bit
    mixing hash with a random seed per function; one network for all fields, which hashes global ids; as many hash
    functions as the budget allows (``hashes``) and fewer, wider hidden layers (``layers``), which learn faster; small
    fields keep a row per id (``threshold``); weight decay of the network is that of the backbone's weights, not that of
    rows; rows start with mean zero and the full table's standard deviation. Batch norm counts each distinct id of a
    batch once, and is folded into the served weights.
    """

    name: Literal["dhe"] = "dhe"
    hashes: PositiveInt | None = None
    """Number k of hash functions; unless given, the largest power of two, of at most 1,024, whose first layer takes no
    more than half the budget."""
    transform: Literal["uniform", "gaussian"] = "uniform"
    """Distribution that the transform t gives the hashes."""
    layers: int = Field(default=2, ge=2, le=32)
    """Number of hidden layers, L - 1; 5 in the paper."""
    batch_norm: bool = True
    """Batch norm before each activation."""
    learning_rate_factor: PositiveFloat = 3.0
    """Learning rate of the network, relative to that of embeddings (ours)."""
    hidden: tuple[PositiveInt, ...] | None = None
    """Widths of the hidden layers; solved from the budget unless given."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; 200, or fewer where they would take half the budget, unless
    given. With 0 the network generates the rows of all fields, as published."""

    title: ClassVar[str] = "a network makes rows from hashes of the id"
    paper: ClassVar[str] = "Kang et al., KDD 2021, arXiv:2010.10784"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "hashing"
    unsharded: ClassVar[str] = "a network makes the rows; it is the same in every process"
    saves_training_memory: ClassVar[bool] = True

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.transform == "gaussian" and self.hashes is not None and self.hashes % 2:
            raise ValueError("normal hashes come in pairs: 'hashes' must be even")
        if self.hidden is not None and self.hashes is None:
            raise ValueError("with 'hidden' given, 'hashes' must be given too")
        return self

    @property
    def budgeted(self) -> bool:
        return self.hidden is None

    def size(self, budget: int, shape: TableShape) -> DHESize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> DHESize:
        from sharkbench.formats.dense import Dense
        from sharkbench.formats.generated import Generated
        from sharkbench.tables.small_fields import count_rows, divide

        if self.hashes is not None and self.hidden is not None:
            return DHESize(threshold, self.hashes, self.hidden)
        small, made = divide(shape.schema, threshold)
        fixed = Dense.bytes_of(count_rows(shape.schema, small), shape.width)
        left = budget - fixed
        candidates = [self.hashes] if self.hashes else [1024 >> k for k in range(10)]
        for hashes in candidates:
            hidden = _widest(hashes, self.layers, shape.width, left)
            if hidden and (hashes == candidates[-1] or 2 * 4 * hashes * hidden[0] <= left):
                return DHESize(threshold, hashes, hidden)
        least = fixed + Generated.bytes_of(candidates[-1], [1] * self.layers, shape.width)
        if made:
            raise Infeasible(
                f"dhe needs at least {least:,} bytes (whole fields, and the smallest network), the budget is "
                f"{budget:,}; lower 'threshold' or 'hashes'"
            )
        if left < 0:
            raise Infeasible(f"the whole fields take {fixed:,} bytes, the budget is {budget:,}; lower 'threshold'")
        return DHESize(threshold, candidates[-1], (1,) * self.layers)

    def compress(self, bench: Workbench) -> Model:
        import torch

        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        from .rows import GeneratedRows

        size = self.size(bench.room, bench.shape)
        small, made = divide(bench.schema, size.threshold, bench.fields)
        seeds = torch.randint(1 << 62, (size.hashes,), generator=bench.generator("hash functions"))
        with bench.seeded("table"):
            generated = GeneratedRows(
                bench.schema,
                made,
                bench.width,
                seeds,
                self.transform,
                size.hidden,
                batch_norm=self.batch_norm,
                lr_factor=self.learning_rate_factor,
                l2=bench.recipe.network_l2,
            )
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
            generated.start(bench.init_std)
        model = bench.model(bench.table(generated, rows))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "transform": trial.suggest_categorical("transform", ["uniform", "gaussian"]),
            "layers": trial.suggest_int("layers", 2, 5),
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.3, 10.0, log=True),
        }


def _nbytes(hashes: int, hidden: Sequence[int], width: int) -> int:
    """Bytes of the packed network; batch norm is folded into its weights and biases."""
    from sharkbench.formats.generated import Generated

    return Generated.bytes_of(hashes, hidden, width)


def _widest(hashes: int, layers: int, width: int, budget: int) -> tuple[int, ...] | None:
    """Widths of ``layers`` hidden layers that fill ``budget`` bytes; ``None`` where not even one unit each fits.

    All layers get the largest common width that fits. The remaining bytes widen the layers after the first, unit by
    unit, since a unit of the first layer costs as much as many of theirs.
    """
    low, high = 0, 1
    while _nbytes(hashes, [high] * layers, width) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _nbytes(hashes, [middle] * layers, width) <= budget else (low, middle)
    if low == 0:
        return None
    hidden = [low] * layers
    while True:
        before = list(hidden)
        for k in range(1, layers):
            hidden[k] += 1
            if _nbytes(hashes, hidden, width) > budget:
                hidden[k] -= 1
        if hidden == before:
            return tuple(hidden)
