from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


@dataclass(frozen=True)
class MDESize(SmallFieldsSize):
    dimensions: tuple[int, ...]
    """Weights per row of each field."""


class MDE(WithSmallFields):
    r"""Mixed dimensions (Ginart et al., "Mixed Dimension Embeddings with Application to Memory-Efficient
    Recommendation Systems", ISIT 2021).

    .. math:: e_f(i) = R_f[i]\, P_f, \qquad R_f \in \mathbb{R}^{n_f \times d_f},\;
              P_f \in \mathbb{R}^{d_f \times D}, \qquad
              d_f = \operatorname{round} \max\bigl(1, D\, (p_f / \max_g p_g)^{\alpha}\bigr), \quad p_f = k_f / n_f

    with :math:`k_f` the number of the field's values that a sample reads on average. The rows of a large field are
    seldom read and short; the matrix projects them to the common width. Dimensions are fixed before training. As in the
    public code of DLRM, popularity is one value per field, rounding is half to even, and small fields stay
    uncompressed.

    This project's own choices: the budget, matrices included, decides the temperature :math:`\alpha` (or, with
    ``temperature`` given, the factor in place of :math:`D`); the bytes that rounding leaves buy further dimensions one
    by one, for the field that lacks most of its unrounded :math:`d_f`. A row of width :math:`D` holds the first-order
    weights too. Matrices start orthogonal and are not regularised. A row has at least one value: budgets below about
    :math:`1/D` are out of reach, and where one field is nearly the whole table, one more dimension of it may exceed the
    remaining bytes.
    """

    name: Literal["mde"] = "mde"
    temperature: NonNegativeFloat | None = None
    """Exponent alpha of popularity; solved from the budget unless given (DLRM's code takes 0.3)."""
    dimensions: tuple[PositiveInt, ...] | None = None
    """Dimension d_f of each field, its weights per row; solved from the budget unless given."""

    title: ClassVar[str] = "rows the shorter the less popular their field, times a matrix"
    paper: ClassVar[str] = "Ginart et al., ISIT 2021, arXiv:1909.11810"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "mixed dimension"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.dimensions is None

    def size(self, budget: int, shape: TableShape) -> MDESize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> MDESize:
        from sharkbench.tables.dimensions import sized_to_budget

        if self.dimensions is not None:
            self._check(self.dimensions, shape)
            return MDESize(threshold, self.dimensions)
        rows = [field.cardinality for field in shape.schema.fields]
        logs = [log(p) for p in _popularity(shape)]
        widest = log(shape.width)

        def wanted(t: float) -> list[float]:
            # Powers by their logarithms: a power of a small popularity may be smaller than any float.
            if self.temperature is None:
                exponent = 1 / t - 1 if t else inf
                powers = [widest + p * exponent if p else widest for p in logs]
            else:
                # With the exponent given the factor falls until all fields have one weight per row.
                lowest, highest = log(0.5), widest - self.temperature * min(logs)
                powers = [lowest + t * (highest - lowest) + self.temperature * p for p in logs]
            whole = float(shape.width)
            return [whole if n <= threshold or d >= widest else exp(d) for n, d in zip(rows, powers, strict=True)]

        return MDESize(threshold, sized_to_budget(wanted, rows, shape.width, budget, what="mde"))

    @staticmethod
    def _check(dimensions: tuple[int, ...], shape: TableShape) -> None:
        if len(dimensions) != shape.schema.num_fields or max(dimensions) > shape.width:
            raise InputError(
                f"mde: 'dimensions' has {len(dimensions)} numbers up to {max(dimensions)}; the table has "
                f"{shape.schema.num_fields} fields of up to {shape.width}"
            )

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.projected import ProjectedRows

        dimensions = self.size(bench.room, bench.shape).dimensions
        with bench.seeded("table"):
            rows = ProjectedRows(bench.schema, bench.fields, bench.width, dimensions, bench.init_std)
        model = bench.model(bench.table(rows))
        bench.train(model)
        sizes = [
            {"field": f.name, "rows": f.cardinality, "dimension": d}
            for f, d in zip(bench.shape.schema.fields, dimensions, strict=True)
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
