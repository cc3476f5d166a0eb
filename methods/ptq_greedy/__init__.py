from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.sizing import Size
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.codec import RowCodec
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

RATIOS = {8: 0.16, 4: 0.16, 2: 0.5, 1: 0.8}


Bits = Literal[8, 4, 2, 1]


@dataclass(frozen=True)
class PTQGreedySize(Size):
    bits: Bits


class PTQGreedy(Method):
    r"""Post-training row-wise integers whose range is found by greedy search (Guan et al., "Post-Training 4-bit
    Quantization on Embedding Tables", 2019).

    .. math:: \hat e = l + s \operatorname{round}\!\Big(\frac{\operatorname{clip}(e, l, h) - l}{s}\Big), \qquad
              s = \frac{h - l}{2^b - 1}, \qquad
              (l, h) = \operatorname*{arg\,min}_{\text{greedy}} \lVert \hat e - e \rVert_2

    The search starts from the row's minimum and maximum. Each step moves one end of the range inwards, by one of
    ``bins`` equal steps: the end whose move gives the smaller error. It stops when ``ratio`` of the range is gone, and
    takes the best range that it met, so that no row has a larger error than with its minimum and maximum.

    A weight takes a whole number of bits, so there are four sizes and a budget between two of them is not used up: with
    16 weights per row 0.3125, 0.1875, 0.125 and 0.094 of fp32.

    This project's own choices: the most bits that the budget allows out of 8, 4, 2 and 1; ``ratio`` is 0.16 as in
    PyTorch's operator, but 0.5 for 2 bits and 0.8 for 1 bit, whose best ranges are narrower; scale and offset are fp16,
    and the search compares errors after rounding them; first-order weights are stored beside the codes as fp16.
    """

    name: Literal["ptq_greedy"] = "ptq_greedy"
    bits: Bits | None = None
    """Bits of a weight, b; the most that the budget allows unless given."""
    bins: int = Field(default=200, ge=2, le=10_000)
    """Number of steps that the range of a row is divided into."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """Largest share of the range that is clipped; 0.16, with 2 bits 0.5 and with 1 bit 0.8, unless given."""

    title: ClassVar[str] = "post-training integers, range by greedy search"
    paper: ClassVar[str] = "Guan et al., 2019, arXiv:1911.02079"
    year: ClassVar[int] = 2019
    family: ClassVar[Family] = "quantization"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.bits is None

    def size(self, budget: int, shape: TableShape) -> PTQGreedySize:
        from sharkbench.formats.int_rows import IntRows

        choices: tuple[Bits, ...] = (8, 4, 2, 1) if self.bits is None else (self.bits,)
        sizes = {b: IntRows.bytes_of(shape.rows, shape.width, _codec(b, shape.first_order)) for b in choices}
        fitting = [bits for bits in choices if sizes[bits] <= budget]
        if not fitting:
            raise Infeasible(
                f"ptq_greedy needs at least {sizes[choices[-1]]:,} bytes ({choices[-1]} bits per number), the budget "
                f"is {budget:,}; ptq_codebook goes lower, it has no scale per row"
            )
        return PTQGreedySize(fitting[0])

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted
        from sharkbench.tables.rounding import rounded

        from .ranges import greedy_range

        bits = self.size(bench.room, bench.shape).bits
        codec, ratio = _codec(bits, bench.first_order), self.ratio or RATIOS[bits]
        start = bench.start_model()
        with counted(bench, 0):
            return rounded(start, codec, lambda body: greedy_range(body, codec, self.bins, ratio))

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"ratio": trial.suggest_float("ratio", 0.05, 0.9)}


def _codec(bits: int, tail: int) -> RowCodec:
    from sharkbench.formats.codec import RowCodec

    return RowCodec(dtype=f"int{bits}", tail=tail)
