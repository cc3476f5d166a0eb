from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import SmallFieldsSize, spend_on_small_fields
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


Scale = Literal["row", "field"]


@dataclass(frozen=True)
class BinarySize(SmallFieldsSize):
    scale: Scale


class Binary(Method):
    r"""Binary codes: one bit per weight, trained through the sign (Courbariaux, Bengio and David, "BinaryConnect",
    NeurIPS 2015; the magnitude as in Rastegari et al., "XNOR-Net", ECCV 2016).

    .. math:: e_i = s_i \operatorname{sign}(x_i), \qquad s_i = \frac{1}{D} \lVert x_i \rVert_1, \qquad
              \frac{\partial L}{\partial x_i} := \frac{\partial L}{\partial e_i}

    with :math:`x` float rows that exist in training only. With ``gradient: tanh`` training computes
    :math:`s_i \tanh(\beta x_i / s_i)` instead, :math:`\beta` rising from one, and evaluation the sign (Cao et al.,
    "HashNet", ICCV 2017).

    One bit per weight and one scale per row have a fixed size: a larger budget leaves fields uncompressed, the smaller
    ones first, as many as fit, and the rest of it is not used.

    This project's own choices: ``scale`` ``field``, a learned magnitude per field, for budgets that a scale per row
    does not meet; the gradient is not clipped for large :math:`x`; :math:`\beta` rises linearly; magnitudes start so
    that the served rows have the full table's standard deviation (with ``tanh``, the rows in training are smaller at
    first); first-order weights are stored beside the codes as fp16.
    """

    name: Literal["binary"] = "binary"
    scale: Scale | None = None
    """Whether each row or each field has a magnitude s of its own; rows, or fields where the budget is too small for
    that, unless given."""
    gradient: Literal["straight-through", "tanh"] = "straight-through"
    """How gradients pass the sign: straight through, or by a tanh in its place."""
    rise: int = Field(default=200, ge=1)
    """With ``tanh``: training steps in which its slope beta rises by one (ours)."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a float row per id; as many as fit the budget unless given."""

    title: ClassVar[str] = "signs and a magnitude per row"
    paper: ClassVar[str] = "Courbariaux et al., NeurIPS 2015, arXiv:1511.00363"
    year: ClassVar[int] = 2015
    family: ClassVar[Family] = "quantization"

    @property
    def budgeted(self) -> bool:
        return self.scale is None or self.threshold is None

    def size(self, budget: int, shape: TableShape) -> BinarySize:
        scales: tuple[Scale, ...] = ("row", "field") if self.scale is None else (self.scale,)
        sizes = [BinarySize(self.threshold or 0, scale) for scale in scales]
        fitting = [size for size in sizes if self.nbytes(size, shape) <= budget]
        if not fitting:
            needed = self.nbytes(sizes[-1], shape)
            raise Infeasible(f"binary needs at least {needed:,} bytes, the budget is {budget:,}")
        if self.threshold is not None or not self.budgeted:
            return fitting[0]
        return spend_on_small_fields(fitting[0], self.nbytes, budget, shape)

    @staticmethod
    def nbytes(size: BinarySize, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.codec import RowCodec
        from sharkbench.formats.dense import Dense
        from sharkbench.formats.int_rows import IntRows
        from sharkbench.tables.small_fields import count_rows, divide

        small, coded = divide(shape.schema, size.threshold)
        total, rows = Dense.bytes_of(count_rows(shape.schema, small), shape.width), count_rows(shape.schema, coded)
        if not shape.dimension:
            return total + Dense.bytes_of(rows, shape.first_order, "fp16")
        if size.scale == "row":
            codec = RowCodec(dtype="int1", symmetric=True, tail=shape.first_order)
            return total + IntRows.bytes_of(rows, shape.width, codec)
        signs = Codebooks.bytes_of([rows], [1] * shape.dimension, 2, shared=True, fields=len(coded)) if coded else 0
        return total + signs + Dense.bytes_of(rows, shape.first_order, "fp16")

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        from .rows import BinaryRows

        size = self.size(bench.room, bench.shape)
        small, coded = divide(bench.schema, size.threshold, bench.fields)
        with bench.seeded("table"):
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
            signs = BinaryRows(
                bench.schema,
                coded,
                bench.width,
                first_order=bench.first_order,
                scale=size.scale,
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
