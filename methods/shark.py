from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sharkbench.errors import Infeasible
from sharkbench.method import Family, Method

from .f_permutation import FPermutation
from .f_quantization import FQuantization

if TYPE_CHECKING:
    from sharkbench.data.schema import Schema
    from sharkbench.model import Model
    from sharkbench.workbench import Workbench


class Shark(Method):
    r"""F-Permutation, then F-Quantization on the fields that are left, with one budget for both.

    .. math:: B_{\text{pruned}} = B_{\text{fp32}} \left( \frac{B}{B_{\text{fp32}}} \right)^{s}

    The pipeline ``[f_permutation, f_quantization]``: pruning takes the share :math:`s` of the compression, counted in
    orders of magnitude, and quantization brings what is left down to the budget :math:`B`. Where the smallest tier is
    too large for that, pruning goes as far as it has to. Published: both steps, in this order. Ours: how the budget is
    split, and all that the docstrings of the two call ours.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Literal["shark"] = "shark"

    share: float = Field(default=0.3, ge=0, le=1)
    """Share of the compression that pruning takes, in orders of magnitude: 0 prunes nothing (ours)."""
    f_permutation: FPermutation = FPermutation()
    """Settings of the pruning."""
    f_quantization: FQuantization = FQuantization()
    """Settings of the quantization."""

    title: ClassVar[str] = "fields pruned, the rest in tiers of precision"
    paper: ClassVar[str] = "Zhang et al., CIKM 2023, arXiv:2308.09395 (SHARK)"
    year: ClassVar[int] = 2023
    family: ClassVar[Family] = "quantization"
    from_model: ClassVar[bool] = True

    @model_validator(mode="after")
    def _budget_decides(self) -> Self:
        if not self.f_quantization.budgeted:
            raise ValueError("the budget decides the tiers: give f_quantization several tiers and no thresholds")
        return self

    def config_for(self, budget: int, schema: Schema, width: int) -> Self:
        smallest = min(schema.fields, key=lambda field: field.cardinality)
        self.f_permutation.config_for(self._pruned(budget, schema.num_rows, width), schema, width)
        least = self.f_quantization.smallest_bytes(smallest.cardinality, width)
        if least > budget:
            raise Infeasible(f"the smallest field alone takes {least:,} bytes in tiers, the budget is {budget:,}")
        return self

    def compress(self, bench: Workbench) -> Model:
        assert bench.budget is not None
        room = self._pruned(bench.budget, bench.schema.num_rows, bench.width, bench.first_order)
        pruned = self.f_permutation.compress(bench.for_stage("f_permutation", budget=room, start=bench.start))
        return self.f_quantization.compress(bench.for_stage("f_quantization", budget=bench.budget, start=pruned))

    def _pruned(self, budget: int, rows: int, width: int, first_order: int = 0) -> int:
        """Bytes that pruning leaves to quantization."""
        full = rows * width * 4
        most = budget * full / max(self.f_quantization.smallest_bytes(rows, width, first_order), 1)
        return int(min(full * (min(budget, full) / full) ** self.share, most))

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"share": trial.suggest_float("share", 0.0, 0.8)}
