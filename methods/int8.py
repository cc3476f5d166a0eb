from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.contract.method import Family, Method, Takes

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class Int8(Method):
    r"""Post-training row-wise 8-bit integers between each row's minimum and maximum, rounded to the nearest.

    .. math:: \hat e_i = l_i + s_i \operatorname{round}\!\Big(\frac{e_i - l_i}{s_i}\Big), \qquad
              l_i = \min e_i,\; s_i = \frac{\max e_i - l_i}{2^{8} - 1}

    A plain baseline; it takes no budget. This project's own choices: scale and offset are fp16, and first-order weights
    are stored beside the codes as fp16, because their range differs from the vector's.
    """

    name: Literal["int8"] = "int8"

    title: ClassVar[str] = "post-training row-wise 8-bit integers"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0
    family: ClassVar[Family] = "quantization"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return False

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.formats.codec import RowCodec
        from sharkbench.tables.rounding import rounded

        return rounded(bench.start_model(), RowCodec(dtype="int8", tail=bench.first_order))
