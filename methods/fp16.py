from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.contract.method import Family, Method, Takes

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class FP16(Method):
    r"""Post-training half precision: every weight of the trained table rounded to fp16.

    .. math:: \hat e_f(i) = \operatorname{fp16}(e_f(i))

    A plain baseline at half the bytes; it takes no budget.
    """

    name: Literal["fp16"] = "fp16"

    title: ClassVar[str] = "post-training rounding to half precision"
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

        return rounded(bench.start_model(), RowCodec(dtype="fp16"))
