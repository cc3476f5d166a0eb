from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class FDHSize(SmallFieldsSize):
    fraction: float


class FDH(WithSmallFields):
    r"""Frequency-based double hashing (Zhang et al., "Model Size Reduction Using Frequency Based Double Hashing for
    Recommender Systems", RecSys 2020).

    .. math:: e_f(i) = \begin{cases} H[\operatorname{rank}(i)] & \text{if } i \text{ is frequent} \\
              A_f[h_f(i)] + B_f[g_f(i)] & \text{otherwise} \end{cases}

    with :math:`h_f, g_f` two independent hash functions into tables of :math:`m_f` rows. Two rare ids share both rows
    with a probability of about :math:`1 / m_f^2`, so nearly all of them have distinct vectors.

    Published: frequent ids own rows, the others are double hashed. This project's own choices: how the two rows are
    combined (their sum, starting with the full table's standard deviation); the hash family (multiply-shift); the
    frequent ids are those read most in the training split over all composed fields together, and get a share
    ``frequent`` of the rows that the budget allows; the other rows are divided among the fields in proportion to their
    rare ids, half to each of a field's two tables; small fields keep a row per id (``threshold``). The index of
    frequent ids takes 1.5 bits per id; it counts, as do the hash functions' constants.
    """

    name: Literal["fdh"] = "fdh"
    frequent: float = Field(default=0.5, ge=0, le=1)
    """Share of the kept rows that frequent ids own, the rows of H (ours)."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Kept rows, those of H, A and B, as a share of the rows of the composed fields; solved from the budget unless
    given."""

    title: ClassVar[str] = "frequent ids own rows, the others sum two hashed ones"
    paper: ClassVar[str] = "Zhang et al., RecSys 2020, arXiv:2007.14523"
    year: ClassVar[int] = 2020
    family: ClassVar[Family] = "hashing"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.fraction is None

    def size(self, budget: int, shape: TableShape) -> FDHSize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> FDHSize:
        rows = _ByFrequency(shape.schema, _larger(shape.schema, threshold))

        def nbytes(fraction: float) -> int:
            return rows.nbytes(shape.width, *rows.divide(fraction, self.frequent))

        return FDHSize(threshold, self.fraction or largest_fraction(nbytes, budget, what="fdh"))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.formats.index import Hash
        from sharkbench.tables.composed import composed_parts

        size, schema, random = self.size(bench.room, bench.shape), bench.shape.schema, bench.generator("hash functions")
        rows = _ByFrequency(schema, _larger(schema, size.threshold))
        owned, moduli = rows.divide(size.fraction, self.frequent)
        functions: list[list[Hash]] = [[] for _ in schema.fields]
        for f, m in zip(rows.fields, moduli, strict=True):
            functions[f] = [Hash.draw(m, random), Hash.draw(m, random)]
        with bench.seeded("table"):
            parts = composed_parts(
                bench.schema, bench.fields, bench.width, functions, "add", bench.init_std, own=rows.most_frequent(owned)
            )
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"frequent": trial.suggest_float("frequent", 0.1, 0.9)}


def _larger(schema: Schema, threshold: int) -> list[int]:
    """Fields of more than so many rows."""
    return [f for f, field in enumerate(schema.fields) if field.cardinality > threshold]


class _ByFrequency:
    """The rows of some fields, most frequent first, and the division of kept rows among the fields."""

    def __init__(self, schema: Schema, fields: list[int]) -> None:
        import numpy as np

        self.fields, self.num_rows = fields, schema.num_rows
        self.offsets = schema.offsets
        counts = np.zeros(schema.num_rows, dtype=np.int64) if schema.frequencies is None else schema.frequencies
        ids = [np.arange(schema.offsets[f], schema.offsets[f + 1]) for f in fields]
        rows: np.ndarray = np.concatenate([np.zeros(0, dtype=np.int64), *ids])
        self.order = rows[np.argsort(-counts[rows], kind="stable")]
        # Which field each row belongs to, in the same order.
        self.owner = np.searchsorted(schema.offsets, self.order, side="right") - 1

    def divide(self, fraction: float, frequent: float) -> tuple[int, list[int]]:
        """The number of owned rows, and the number of rows of each of a field's two tables."""
        import numpy as np

        kept = fraction * len(self.order)
        owned = int(kept * frequent)
        rare = np.bincount(self.owner[owned:], minlength=self.num_fields)[self.fields]
        share = (kept - owned) / max(1, rare.sum()) / 2
        return owned, [max(1, int(share * n)) for n in rare.tolist()]

    @property
    def num_fields(self) -> int:
        return len(self.offsets) - 1

    def most_frequent(self, owned: int) -> torch.Tensor:
        """``[R]`` bool: the ``owned`` most frequent rows of the fields."""
        import torch

        mask = torch.zeros(self.num_rows, dtype=torch.bool)
        mask[torch.from_numpy(self.order[:owned])] = True
        return torch.cat([mask[:0], *(mask[self.offsets[f] : self.offsets[f + 1]] for f in self.fields)])

    def nbytes(self, width: int, owned: int, moduli: list[int]) -> int:
        """Bytes of the packed layer, in closed form: rows, two hash functions per field, index of frequent ids."""
        from sharkbench.formats.composed import Composed
        from sharkbench.formats.dense import Dense

        whole = Dense.bytes_of(self.num_rows - len(self.order), width)
        if not moduli:
            return whole
        head = (len(self.order), owned)
        return whole + Composed.bytes_of([sum(moduli)] * 2, [width] * 2, hashes=2 * len(moduli), head=head)
