from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.contract.method import Family, Method

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class Full(Method):
    r"""The uncompressed full-precision table: the reference for all methods.

    .. math:: e_f(i) = W_f[i], \qquad W_f \in \mathbb{R}^{n_f \times D} \text{ in fp32}

    Trained once per data set, backbone, recipe and seed; methods that start from a trained model start from this one.
    """

    name: Literal["full"] = "full"

    title: ClassVar[str] = "uncompressed fp32 table"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0
    family: ClassVar[Family] = "none"

    @property
    def budgeted(self) -> bool:
        return False

    def compress(self, bench: Workbench) -> Model:
        if bench.start is None:
            return bench.full_model()
        model = bench.model(bench.full_table())
        bench.train(model)
        return model
