from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

MOST_NUMBERS = (1 << 31) - 1
"""Positions in the array are 31-bit."""


@dataclass(frozen=True)
class ROBESize(SmallFieldsSize):
    numbers: int
    """Length of the array."""


class ROBE(WithSmallFields):
    r"""Random offset block embedding (Desai, Chou and Shrivastava, "Random Offset Block Embedding (ROBE) for Compressed
    Embedding Tables in Deep Learning Recommendation Systems", MLSys 2022).

    .. math:: e(i)[k] = g(i, c) \, M\bigl[(h(i, c) + k \bmod Z) \bmod |M|\bigr], \qquad c = \lfloor k / Z \rfloor

    All fields share one circular array :math:`M`. A row consists of blocks of :math:`Z` neighbouring weights of the
    array, and a hash of the id and the block's index gives the position of each block. The sign :math:`g` is 1 unless
    ``signed``. Any budget is met exactly.

    The authors' code hashes by an affine function modulo a prime, which keeps the distance between the blocks of all
    rows, so that rows that collide in one block mostly collide in all; the hash here mixes all bits of id, block and
    seed. This project's other choices: the default of ``block``; small fields keep a row per id beside the array
    (``threshold``); first-order weights are the last values of a row, read from the same array.
    """

    name: Literal["robe"] = "robe"
    block: PositiveInt = 4
    """Block size Z: neighbouring weights that are read together; the larger, the fewer reads and the fewer distinct
    rows."""
    signed: bool = False
    """Hash a sign g for each block as well (not in the authors' code)."""
    numbers: PositiveInt | None = Field(default=None, le=MOST_NUMBERS)
    """Length abs(M) of the array, in weights; solved from the budget unless given."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; 200, or fewer where they would take half the budget, unless
    given. With 0 all fields read their rows from the array, as published."""

    title: ClassVar[str] = "rows cut from one circular array"
    paper: ClassVar[str] = "Desai et al., MLSys 2022, arXiv:2108.02191"
    year: ClassVar[int] = 2022
    family: ClassVar[Family] = "hashing"
    unsharded: ClassVar[str] = "all rows are cut from one array"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.numbers is None

    def size(self, budget: int, shape: TableShape) -> ROBESize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> ROBESize:
        from sharkbench.formats.dense import Dense
        from sharkbench.formats.shared_array import SharedArray
        from sharkbench.tables.small_fields import count_rows, divide

        small, large = divide(shape.schema, threshold)
        cut = count_rows(shape.schema, large)
        fixed = Dense.bytes_of(count_rows(shape.schema, small), shape.width)
        fixed += SharedArray.bytes_of(0) if cut else 0
        if self.numbers is not None:
            return ROBESize(threshold, self.numbers)
        left, least = (budget - fixed) // 4, self.block if cut else 0
        if left < least:
            raise Infeasible(
                f"robe needs at least {fixed + 4 * least:,} bytes (whole fields, and one block of the array), the "
                f"budget is {budget:,}; lower 'threshold' or 'block'"
            )
        return ROBESize(threshold, max(1, min(left, cut * shape.width, MOST_NUMBERS)))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.seeds import derive
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        from .rows import SharedArrayRows

        size = self.size(bench.room, bench.shape)
        small, cut = divide(bench.schema, size.threshold, bench.fields)
        with bench.seeded("table"):
            array = SharedArrayRows(
                bench.schema,
                cut,
                bench.width,
                size.numbers,
                self.block,
                derive(bench.seed, "places in the array"),
                bench.init_std,
                signed=self.signed,
            )
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
        model = bench.model(bench.table(array, rows))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "block": trial.suggest_categorical("block", [1, 2, 4, 8, 16]),
            "signed": trial.suggest_categorical("signed", [False, True]),
        }
