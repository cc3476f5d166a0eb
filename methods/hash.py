from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.formats.index import Digit
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class HashSize(SmallFieldsSize):
    fraction: float


class Hash(WithSmallFields):
    r"""The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

    .. math:: e_f(i) = W_f[i \bmod m_f], \qquad W_f \in \mathbb{R}^{m_f \times D}

    Ids with the same remainder share a row. Ids are ordered by falling training frequency, so the :math:`m_f` most
    frequent ones never share a row with each other; the signed variant of the paper is another method.

    This project's own choices: one fraction :math:`r` for all fields, :math:`m_f = \max(1, \lfloor r n_f \rfloor)`, as
    large as the budget allows; small fields keep a row per id (``threshold``). Rows start with the full table's
    standard deviation.
    """

    name: Literal["hash"] = "hash"
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share r of each field's rows that is kept, in place of m; solved from the budget unless given."""

    title: ClassVar[str] = "ids share rows by remainder"
    paper: ClassVar[str] = "Weinberger et al., ICML 2009, arXiv:0902.2206"
    year: ClassVar[int] = 2009
    family: ClassVar[Family] = "hashing"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.fraction is None

    def size(self, budget: int, shape: TableShape) -> HashSize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> HashSize:
        from sharkbench.tables.composed import composed_nbytes

        def nbytes(fraction: float) -> int:
            functions = remainders(shape.schema, HashSize(threshold, fraction))
            return composed_nbytes(shape.schema, shape.width, functions, "add")

        return HashSize(threshold, self.fraction or largest_fraction(nbytes, budget, what="hash"))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.composed import composed_parts

        functions = remainders(bench.shape.schema, self.size(bench.room, bench.shape))
        with bench.seeded("table"):
            parts = composed_parts(bench.schema, bench.fields, bench.width, functions, "add", bench.init_std)
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"threshold": trial.suggest_int("threshold", 1, 2000, log=True)}


def remainders(schema: Schema, size: HashSize) -> list[list[Digit]]:
    """The remainder of each field, none where it keeps a row per id."""
    from sharkbench.formats.index import remainder

    return [
        [] if n <= size.threshold else [remainder(max(1, int(size.fraction * n)))]
        for n in (field.cardinality for field in schema.fields)
    ]
