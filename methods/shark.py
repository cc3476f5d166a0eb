from __future__ import annotations

from bisect import bisect_right
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size
from sharkbench.errors import Infeasible

from .f_permutation import FPermutation
from .f_quantization import FQuantization

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

Share = Annotated[float, Field(ge=0, le=1)]


class Shark(Method):
    r"""F-Permutation, then F-Quantization on the fields that are left, with one budget for both.

    .. math:: B_{\text{pruned}} = B_{\text{fp32}} \left( \frac{B}{B_{\text{fp32}}} \right)^{s}

    The pipeline ``[f_permutation, f_quantization]``: pruning takes the share :math:`s` of the compression, counted in
    orders of magnitude, and quantization brings the remaining fields down to the budget :math:`B`. Where they do not
    fit even in the smallest tier, pruning removes as many more fields as it takes. Published: both steps, in this
    order. Ours: how the budget is split, and everything that the docstrings of the two methods call ours.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Literal["shark"] = "shark"

    share: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = 0.3
    """Share s of the compression that pruning takes, in orders of magnitude; 0 prunes nothing. Of several shares, the
    one with the best primary metric on validation is taken, and the cost of all of them counts (ours)."""
    f_permutation: FPermutation = FPermutation()
    """Settings of the pruning step."""
    f_quantization: FQuantization = FQuantization()
    """Settings of the quantization step."""

    title: ClassVar[str] = "fields pruned, the rest in tiers of precision"
    paper: ClassVar[str] = "Zhang et al., CIKM 2023, arXiv:2308.09395 (SHARK)"
    year: ClassVar[int] = 2023
    family: ClassVar[Family] = "quantization"
    unsharded: ClassVar[str] = "as of `f_quantization`"
    leaves_fields: ClassVar[bool] = True

    @model_validator(mode="after")
    def _budget_decides(self) -> Self:
        if not self.f_quantization.budgeted:
            raise ValueError("the budget decides the tiers: give f_quantization several tiers and no thresholds")
        return self

    @property
    def takes(self) -> Takes:
        return "model"

    def size(self, budget: int, shape: TableShape) -> Size:
        least = self.f_quantization.smallest_bytes(shape, min(field.cardinality for field in shape.schema.fields))
        if least > budget:
            raise Infeasible(f"the smallest field alone takes {least:,} bytes in tiers, the budget is {budget:,}")
        room = max(self._pruned(share, budget, shape) for share in self._shares)
        self.f_permutation.size(room, shape)
        return Size()

    def compress(self, bench: Workbench) -> Model:
        shares = self._shares
        if len(shares) == 1:
            return self._split(bench, bench.start, shares[0])
        start = bench.start_model()
        models = [self._split(bench, deepcopy(start), share, f"share {share:g}/") for share in shares]
        values, metric = [bench.value(model) for model in models], bench.metric
        bench.note("shares", [{"share": s, metric.name: v} for s, v in zip(shares, values, strict=True)])
        scores = [metric.score(value) for value in values]
        return models[scores.index(max(scores))]

    def _split(self, bench: Workbench, start: Model | None, share: float, stage: str = "") -> Model:
        room = self._pruned(share, bench.room, bench.shape)
        pruned = self.f_permutation.compress(bench.for_stage(f"{stage}f_permutation", budget=room, start=start))
        own = bench.for_stage(f"{stage}f_quantization", budget=bench.budget, start=pruned)
        return self.f_quantization.compress(own)

    @property
    def _shares(self) -> tuple[float, ...]:
        return self.share if isinstance(self.share, tuple) else (self.share,)

    def _pruned(self, share: float, budget: int, shape: TableShape) -> int:
        """Fp32 bytes that pruning leaves: no more rows than fit into the budget in the smallest tier."""
        sizes = range(shape.rows + 1)
        rows = bisect_right(sizes, budget, key=lambda rows: self.f_quantization.smallest_bytes(shape, rows)) - 1
        full = shape.fp32_bytes
        return min(int(full * (min(budget, full) / full) ** share), rows * shape.width * 4)

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"share": trial.suggest_float("share", 0.0, 0.8)}
