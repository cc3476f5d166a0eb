from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from sharkbench.contract.method import Family, Method
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


class Binary(Method):
    r"""Binary codes: one bit per number, trained through the sign (Courbariaux, Bengio and David, "BinaryConnect",
    NeurIPS 2015; the magnitude as in Rastegari et al., "XNOR-Net", ECCV 2016).

    .. math:: e_i = s_i \operatorname{sign}(x_i), \qquad s_i = \frac{1}{D} \lVert x_i \rVert_1, \qquad
              \frac{\partial L}{\partial x_i} := \frac{\partial L}{\partial e_i}

    with :math:`x` floats that exist in training only. With ``gradient: tanh`` training sees
    :math:`s_i \tanh(\beta x_i / s_i)` instead, :math:`\beta` rising from one, and validation the sign (Cao et al.,
    "HashNet", ICCV 2017).

    One bit per number and one scale per row have the size that they have: what a budget leaves keeps fields whole, the
    smaller ones first, as many as fit, and is otherwise not used.

    This project's own choices: ``scale`` ``field``, a trained magnitude per field, for budgets that a scale per row
    does not meet; the gradient passes however large :math:`x` is; the straight line in which :math:`\beta` rises;
    magnitudes start so that rows as they are served have the full table's standard deviation (with ``tanh``, training
    sees smaller ones at first); first-order weights stand beside the codes as fp16.
    """

    name: Literal["binary"] = "binary"
    scale: Literal["row", "field"] | None = None
    """Who has a magnitude of its own; rows, or fields where the budget is too small for that, unless given."""
    gradient: Literal["straight-through", "tanh"] = "straight-through"
    """How training gets past the sign."""
    rise: int = Field(default=200, ge=1)
    """With ``tanh``: training steps in which its slope rises by one (ours)."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row of floats per id; as many as fit the budget unless given."""

    title: ClassVar[str] = "signs and a magnitude per row"
    paper: ClassVar[str] = "Courbariaux et al., NeurIPS 2015, arXiv:1511.00363"
    year: ClassVar[int] = 2015
    family: ClassVar[Family] = "quantization"

    @property
    def budgeted(self) -> bool:
        return self.scale is None or self.threshold is None

    def config_for(self, budget: int, shape: TableShape) -> Self:
        smallest = 0
        for scale in (self.scale,) if self.scale else ("row", "field"):
            sized = self.model_copy(update={"scale": scale, "threshold": self.threshold or 0})
            smallest = sized.nbytes(shape)
            if smallest <= budget:
                return sized if self.threshold is not None else sized._filled(budget, shape)
        raise Infeasible(f"binary needs at least {smallest:,} bytes, the budget is {budget:,}")

    def _filled(self, budget: int, shape: TableShape) -> Self:
        """What is left of the budget keeps further fields whole, the smaller ones first."""
        from sharkbench.tables.small_fields import largest_threshold

        def nbytes(threshold: int) -> int:
            return self.model_copy(update={"threshold": threshold}).nbytes(shape)

        threshold = largest_threshold(shape.schema, nbytes, budget, self.threshold or 0)
        return self.model_copy(update={"threshold": threshold})

    def nbytes(self, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.tables.small_fields import count_rows, divide

        whole, coded = divide(shape.schema, self.threshold or 0)
        per_row = (shape.dimension + 7) // 8 + 2 * shape.first_order + (2 if self.scale == "row" else 0)
        magnitudes = 2 * 4 * len(coded) if self.scale == "field" else 0
        return (
            4 * shape.width * count_rows(shape.schema, whole) + per_row * count_rows(shape.schema, coded) + magnitudes
        )

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.binary import BinaryRows
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        assert self.scale is not None
        small, coded = divide(bench.schema, self.threshold or 0, bench.fields)
        with bench.seeded("table"):
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
            signs = BinaryRows(
                bench.schema,
                coded,
                bench.width,
                first_order=bench.first_order,
                scale=self.scale,
                init_std=bench.init_std,
                rise=self.rise if self.gradient == "tanh" else None,
            )
        model = bench.model(bench.table(signs, rows))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "scale": trial.suggest_categorical("scale", ["row", "field"]),
            "gradient": trial.suggest_categorical("gradient", ["straight-through", "tanh"]),
        }
