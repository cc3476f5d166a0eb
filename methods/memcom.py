from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.index import Digit
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class MEmComSize(SmallFieldsSize):
    fraction: float


class MEmCom(WithSmallFields):
    r"""MEmCom: a shared row times a scalar multiplier per id (Pansare et al., "Learning Compressed Embeddings for
    On-Device Inference", MLSys 2022).

    .. math:: e_f(i) = U_f[i \bmod m_f] \cdot v_f(i) \; [{} + w_f(i)], \qquad
              U_f \in \mathbb{R}^{m_f \times D},\; v_f, w_f \in \mathbb{R}^{n_f}

    Ids that share a row of :math:`U_f` lie on one line (with the bias :math:`w_f`, in one plane), each at its own
    position. The multiplier per id bounds the compression: no budget below :math:`1/D` is reached, or :math:`2/D` with
    the bias.

    This project's own choices: rows start as those of the hashing trick, all :math:`v = 1` and :math:`w = 0`; the
    trained and decayed parameter is :math:`v - 1`, so that decay makes ids share more (decay of :math:`v` towards zero
    would drive all rows into a saddle), and it is decayed a hundred times less than rows; :math:`v` learns faster than
    the rows (``multiplier_rate``), since a step that is large for a row that starts near zero is small for a factor
    that starts at one; first-order weights are multiplied like the rest of the row; one fraction :math:`r` for all
    fields, :math:`m_f = \max(1, \lfloor r n_f \rfloor)`, as large as the budget allows; a field keeps a row per id
    where that takes no more bytes, or where the field is small (``threshold``).
    """

    name: Literal["memcom"] = "memcom"
    bias: bool = False
    """Add the bias w as well, a scalar per id."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Shared rows as a share r of each field's rows, in place of m; solved from the budget unless given."""
    multiplier_rate: PositiveFloat = 10.0
    """Learning rate of the multipliers v, relative to that of the rows (ours)."""

    title: ClassVar[str] = "a shared row times a number per id"
    paper: ClassVar[str] = "Pansare et al., MLSys 2022, arXiv:2203.10135"
    year: ClassVar[int] = 2022
    family: ClassVar[Family] = "hashing"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.fraction is None

    def size(self, budget: int, shape: TableShape) -> MEmComSize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> MEmComSize:
        def nbytes(fraction: float) -> int:
            return self._nbytes(shape, MEmComSize(threshold, fraction))

        what = "memcom, with its number per id,"
        return MEmComSize(threshold, self.fraction or largest_fraction(nbytes, budget, what=what))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.composed import SmallTable, composed_parts

        width, std = bench.width, bench.init_std
        small = [SmallTable(width, std), SmallTable(1, 0.0, "mult", self.multiplier_rate), SmallTable(1, 0.0, "add")]
        functions = self._functions(bench.shape, self.size(bench.room, bench.shape))
        with bench.seeded("table"):
            parts = composed_parts(bench.schema, bench.fields, width, functions, small[: 2 + self.bias], std)
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    def _shared_rows(self, rows: int, width: int, size: MEmComSize) -> int | None:
        """Shared rows of a field of ``rows`` ids; ``None`` where it keeps a row per id."""
        shared = max(1, int(size.fraction * rows))
        too_many = shared * width + self._own_numbers * rows >= rows * width
        return None if rows <= size.threshold or too_many else shared

    @property
    def _own_numbers(self) -> int:
        return 1 + self.bias

    def _functions(self, shape: TableShape, size: MEmComSize) -> list[list[Digit]]:
        """Index functions of each field for the shared row and the scalars; none where it keeps a row per id."""
        from sharkbench.formats.index import identity, remainder

        functions: list[list[Digit]] = []
        for n in (field.cardinality for field in shape.schema.fields):
            m = self._shared_rows(n, shape.width, size)
            functions.append([] if m is None else [remainder(m), *[identity(n)] * self._own_numbers])
        return functions

    def _nbytes(self, shape: TableShape, size: MEmComSize) -> int:
        """Bytes of the packed layer."""
        from sharkbench.formats.composed import Composed
        from sharkbench.formats.dense import Dense

        total, own = 0, self._own_numbers
        for n in (field.cardinality for field in shape.schema.fields):
            m = self._shared_rows(n, shape.width, size)
            if m is None:
                total += Dense.bytes_of(n, shape.width)
            else:
                total += Composed.bytes_of([m, *[n] * own], [shape.width, *[1] * own])
        return total

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "bias": trial.suggest_categorical("bias", [False, True]),
            "multiplier_rate": trial.suggest_float("multiplier_rate", 0.3, 30.0, log=True),
        }
