from __future__ import annotations

from itertools import pairwise
from math import exp, inf, log
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt

from sharkbench.contract.method import Family, Method, small_field_rows
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


class MDE(Method):
    r"""Mixed dimensions (Ginart et al., "Mixed Dimension Embeddings with Application to Memory-Efficient
    Recommendation Systems", ISIT 2021).

    .. math:: e_f(i) = R_f[i]\, P_f, \qquad R_f \in \mathbb{R}^{n_f \times d_f},\;
              P_f \in \mathbb{R}^{d_f \times D}, \qquad
              d_f = \operatorname{round} \max\bigl(1, D\, (p_f / \max_g p_g)^{\alpha}\bigr), \quad p_f = k_f / n_f

    with :math:`k_f` the values of the field that a sample reads on average. A field of many rows has seldom read,
    short ones; the matrix lifts them to the common width. Dimensions are fixed before training. As in the public code
    of DLRM, popularity is one number per field, rounding is half to even, and small fields stay whole.

    This project's own choices: the budget, matrices included, decides the temperature :math:`\alpha` (or, with
    ``temperature`` given, the factor in place of :math:`D`), and what rounding leaves of it buys further dimensions
    one by one, for the field that lacks most of its unrounded :math:`d_f`. A row of width :math:`D` holds the
    first-order weights too. Matrices start orthogonal and are not regularised. A row cannot be shorter than one number:
    budgets below about :math:`1/D` are out of reach, and where one field is nearly the whole table, one number more of
    it may be more than what is left.
    """

    name: Literal["mde"] = "mde"
    temperature: NonNegativeFloat | None = None
    """The exponent of popularity; solved from the budget unless given (DLRM's code takes 0.3)."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep whole rows; 200, or fewer where they would take half the budget, unless
    given."""
    dimensions: tuple[PositiveInt, ...] | None = None
    """Numbers per row of each field; solved from the budget unless given."""

    title: ClassVar[str] = "rows the shorter the less popular their field, times a matrix"
    paper: ClassVar[str] = "Ginart et al., ISIT 2021, arXiv:1909.11810"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "mixed dimension"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.dimensions is None

    def config_for(self, budget: int, shape: TableShape) -> Self:
        from sharkbench.tables.dimensions import sized_to_budget

        threshold = small_field_rows(shape, budget) if self.threshold is None else self.threshold
        rows = [field.cardinality for field in shape.schema.fields]
        logs = [log(p) for p in _popularity(shape)]
        widest = log(shape.width)

        def wanted(t: float) -> list[float]:
            # Powers by their logarithms: of a small popularity they may be smaller than any float.
            if self.temperature is None:
                exponent = 1 / t - 1 if t else inf
                powers = [widest + p * exponent if p else widest for p in logs]
            else:
                # With the exponent given the factor falls, down to where all fields have one number per row.
                lowest, highest = log(0.5), widest - self.temperature * min(logs)
                powers = [lowest + t * (highest - lowest) + self.temperature * p for p in logs]
            whole = float(shape.width)
            return [whole if n <= threshold or d >= widest else exp(d) for n, d in zip(rows, powers, strict=True)]

        dimensions = sized_to_budget(wanted, rows, shape.width, budget, what="mde")
        return self.model_copy(update={"threshold": threshold, "dimensions": dimensions})

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.projected import ProjectedRows

        assert self.dimensions is not None
        fields = bench.shape.schema.fields
        if len(self.dimensions) != len(fields) or max(self.dimensions) > bench.width:
            raise InputError(
                f"mde: 'dimensions' has {len(self.dimensions)} numbers up to {max(self.dimensions)}; the table has "
                f"{len(fields)} fields of up to {bench.width}"
            )
        with bench.seeded("table"):
            rows = ProjectedRows(bench.schema, bench.fields, bench.width, self.dimensions, bench.init_std)
        model = bench.model(bench.table(rows))
        bench.train(model)
        sizes = [
            {"field": f.name, "rows": f.cardinality, "dimension": d}
            for f, d in zip(fields, self.dimensions, strict=True)
        ]
        bench.note("dimensions", sizes)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"temperature": trial.suggest_float("temperature", 0.02, 1.0, log=True)}


def _popularity(shape: TableShape) -> list[float]:
    """``p_f / max p``: reads per row and sample, those of the most popular field being one."""
    fields, counts = shape.schema.fields, shape.schema.frequencies
    reads = [float(field.slots) for field in fields]
    if counts is not None:
        reads = [float(counts[first:end].sum()) for first, end in pairwise(shape.schema.offsets.tolist())]
    popularity = [max(k, 1.0) / field.cardinality for k, field in zip(reads, fields, strict=True)]
    return [p / max(popularity) for p in popularity]
