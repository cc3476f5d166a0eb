from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from sharkbench.contract.method import Family, Method, largest_fraction, small_field_rows

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.formats.index import Digit
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


class Hash(Method):
    r"""The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

    .. math:: e_f(i) = W_f[i \bmod m_f], \qquad W_f \in \mathbb{R}^{m_f \times D}

    Ids that leave the same remainder share a row. Ids are ordered by falling training frequency, so the :math:`m_f`
    most frequent ones never share among themselves; the signed variant of the paper is another method.

    This project's own choices: one fraction :math:`r` for all fields, :math:`m_f = \max(1, \lfloor r n_f \rfloor)`, as
    large as the budget allows; small fields keep a row per id (``threshold``). Rows start with the standard
    deviation of the full table's.
    """

    name: Literal["hash"] = "hash"
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of each field's rows that is kept; solved from the budget unless given."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; 200, or fewer where they would take half the budget, unless
    given."""

    title: ClassVar[str] = "ids share rows by remainder"
    paper: ClassVar[str] = "Weinberger et al., ICML 2009, arXiv:0902.2206"
    year: ClassVar[int] = 2009
    family: ClassVar[Family] = "hashing"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.fraction is None

    def config_for(self, budget: int, shape: TableShape) -> Self:
        from sharkbench.tables.composed import composed_nbytes

        threshold = small_field_rows(shape, budget) if self.threshold is None else self.threshold
        sized = self.model_copy(update={"threshold": threshold})

        def nbytes(fraction: float) -> int:
            return composed_nbytes(shape.schema, shape.width, sized._functions(shape.schema, fraction), "add")

        return sized.model_copy(update={"fraction": largest_fraction(nbytes, budget, what="hash")})

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.composed import composed_parts

        assert self.fraction is not None
        functions = self._functions(bench.shape.schema, self.fraction)
        with bench.seeded("table"):
            parts = composed_parts(bench.schema, bench.fields, bench.width, functions, "add", bench.init_std)
        model = bench.model(bench.table(*parts))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"threshold": trial.suggest_int("threshold", 1, 2000, log=True)}

    def _functions(self, schema: Schema, fraction: float) -> list[list[Digit]]:
        """The remainder of each field, none where it keeps a row per id."""
        from sharkbench.formats.index import remainder

        threshold = 200 if self.threshold is None else self.threshold
        return [
            [] if n <= threshold else [remainder(max(1, int(fraction * n)))]
            for n in (field.cardinality for field in schema.fields)
        ]
