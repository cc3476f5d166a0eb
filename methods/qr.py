from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isqrt, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.formats.index import Digit
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class QRSize(SmallFieldsSize):
    fraction: float


class QR(WithSmallFields):
    r"""Quotient-remainder trick (Shi et al., "Compositional Embeddings Using Complementary Partitions", KDD 2020).

    .. math:: e_f(i) = Q_f[\lfloor i / m_f \rfloor] \circ R_f[i \bmod m_f], \qquad
              R_f \in \mathbb{R}^{m_f \times D},\; Q_f \in \mathbb{R}^{\lceil n_f / m_f \rceil \times D}

    with :math:`\circ` the elementwise product, the sum, or (of parts of :math:`D/2`) the concatenation. Every id has a
    row of its own, composed of two shared rows.

    This project's own choices: every field keeps the same share of its rows, never fewer than the
    :math:`2\sqrt{n_f}` that two tables need, and as many as the budget allows. Two divisions into quotient and
    remainder rows take the same bytes; the one with the larger remainder table is chosen: ids are ordered by falling
    frequency, so the most frequent ones then share no remainder. The *composed* rows start zero-mean with the full
    table's standard deviation (the authors' code starts with positive ones, which costs accuracy in models of the
    factorization-machine kind); with ``mult`` the quotient's factors start around one, are decayed towards one (not
    towards the saddle at zero) a hundred times less than rows, and learn faster (``factor_rate``). A field keeps a row
    per id where that takes no more bytes, or where the field is small (``threshold``). With ``concat`` a field takes
    little more than half of its bytes at most, since every id then has a half row of its own; a larger budget is spent
    on leaving small fields uncompressed only. For a multi-valued field the composed rows :math:`e_f(i)` are pooled, as
    in every method here; with ``mult`` this differs from the authors' bag, which multiplies the pooled quotient rows by
    the pooled remainder rows.
    """

    name: Literal["qr"] = "qr"
    operation: Literal["mult", "add", "concat"] = "mult"
    """How quotient and remainder rows are combined."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of each field's weights that is kept (in place of the paper's number of collisions m); solved from the
    budget unless given."""
    factor_rate: PositiveFloat = 10.0
    """With ``mult``: learning rate of the quotient's factors, relative to that of rows (ours); a step that is large for
    a row that starts near zero is small for a factor that starts at one."""

    title: ClassVar[str] = "rows composed of a quotient's and a remainder's"
    paper: ClassVar[str] = "Shi et al., KDD 2020, arXiv:1909.02107"
    year: ClassVar[int] = 2020
    family: ClassVar[Family] = "hashing"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.fraction is None

    def size(self, budget: int, shape: TableShape) -> QRSize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> QRSize:
        from sharkbench.tables.composed import composed_nbytes

        def nbytes(fraction: float) -> int:
            functions = self._functions(shape.schema, QRSize(threshold, fraction))
            return composed_nbytes(shape.schema, shape.width, functions, self.operation)

        return QRSize(threshold, self.fraction or largest_fraction(nbytes, budget, what=f"qr ({self.operation})"))

    def compress(self, bench: Workbench) -> Model:
        from dataclasses import replace

        from sharkbench.tables.composed import composed_parts, equal_tables

        functions = self._functions(bench.shape.schema, self.size(bench.room, bench.shape))
        remainders, quotients = equal_tables(bench.width, 2, self.operation, bench.init_std)
        if self.operation == "mult":
            quotients = replace(quotients, lr_factor=self.factor_rate)
        with bench.seeded("table"):
            parts = composed_parts(
                bench.schema, bench.fields, bench.width, functions, [remainders, quotients], bench.init_std
            )
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "operation": trial.suggest_categorical("operation", ["mult", "add", "concat"]),
            "factor_rate": trial.suggest_float("factor_rate", 1.0, 100.0, log=True),
            "threshold": trial.suggest_int("threshold", 1, 2000, log=True),
        }

    def _functions(self, schema: Schema, size: QRSize) -> list[list[Digit]]:
        """Remainder and quotient of each field, none where it keeps a row per id."""
        from sharkbench.formats.index import quotient, remainder

        functions: list[list[Digit]] = []
        for n in (field.cardinality for field in schema.fields):
            m = None if n <= size.threshold else self._remainders(n, size.fraction)
            functions.append([] if m is None else [remainder(m), quotient(m, n)])
        return functions

    def _remainders(self, n: int, fraction: float) -> int | None:
        """Rows of the remainder table of a field of ``n`` rows; ``None`` where a row per id takes no more bytes."""
        # Concatenated parts are half as wide, so the same weights make twice as many rows.
        halves = 2 if self.operation == "concat" else 1
        rows = max(int(fraction * n * halves), _fewest_rows(n))
        if rows >= n * halves:
            return None
        # Go from the larger root of m + n/m = rows (or the minimum of the sum) down to where the rounded-up quotient
        # fits.
        m = int((rows + sqrt(max(rows * rows - 4 * n, 0))) / 2) + 1
        while m + ceil(n / m) > rows:
            m -= 1
        return min(m, n)


def _fewest_rows(n: int) -> int:
    """The least ``m + ceil(n / m)`` over all ``m``."""
    m = isqrt(n)
    return min(c + ceil(n / c) for c in (m, m + 1))
