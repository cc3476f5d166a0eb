"""The method contract: a frozen config with one verb.

A method is one file under ``methods/``, named like the method, with one subclass of :class:`Method`. Its fields are its
hyperparameters, ``compress(bench)`` is the paper's algorithm box. Keep the top of the file light (no torch at import:
layers come from ``sharkbench.tables`` or are imported inside ``compress``), because suites are checked by importing
the methods that they name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model
    from sharkbench.tasks.base import Task

Family = Literal[
    "none",
    "hashing",
    "quantization",
    "mixed dimension",
    "pruning",
    "vector quantization",
    "decomposition",
    "field selection",
]


class Method(BaseModel):
    """Base of all methods. The class docstring states paper, equation, and which parts are this project's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    name: str

    title: ClassVar[str]
    """One line for tables."""
    paper: ClassVar[str]
    """Authors, venue, year, and where to find it."""
    year: ClassVar[int]
    family: ClassVar[Family]
    from_model: ClassVar[bool] = False
    """Whether it starts from a trained model: the full-precision one, or the stage before it in a pipeline."""
    saves_training_memory: ClassVar[bool] = False
    """Whether the table is smaller than fp32 during training too, not only when served."""

    @property
    def budgeted(self) -> bool:
        """Whether a budget decides its size. ``False`` where its settings already do: such a method runs once."""
        return True

    def config_for(self, budget: int, shape: TableShape) -> Self:
        """The same settings, sized so that the packed layer takes at most ``budget`` bytes, and as nearly as it can.

        Args:
            budget: bytes.
            shape: fields, their rows and how often each is read, and what a row holds.

        Raises:
            Infeasible: no setting reaches the budget.
        """
        return self

    def sized_for(self, budget: int, shape: TableShape) -> Self:
        """:meth:`config_for`, and where it finds the budget too small, once more without fields that are kept whole.

        ``threshold`` is what every method calls the size up to which fields keep a row per id. Where it is not given
        they take up to half of the budget, and the other half may be too little for the rest.

        Raises:
            Infeasible: no setting reaches the budget.
        """
        try:
            return self.config_for(budget, shape)
        except Infeasible:
            if getattr(self, "threshold", 0) is not None:
                raise
            return self.model_copy(update={"threshold": 0}).config_for(budget, shape)

    def check_task(self, task: Task) -> None:
        """Raises ValueError where the settings do not go with a task, such as a metric that it does not have."""

    @abstractmethod
    def compress(self, bench: Workbench) -> Model:
        """Make the compressed model; ``bench`` is all that a method may use."""

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        """Settings suggested by an Optuna ``trial``; empty where there is nothing to tune."""
        return {}


def largest_fraction(nbytes: Callable[[float], int], budget: int, *, what: str) -> float:
    """The largest fraction in (0, 1] whose exact byte count meets the budget, to one part in a million.

    Args:
        nbytes: exact bytes at a fraction; must not fall as the fraction grows.
        budget: bytes.
        what: names the method in the reason.

    Raises:
        Infeasible: even the smallest fraction is too large.
    """
    if nbytes(1.0) <= budget:
        return 1.0
    low, high = 0, 1_000_000
    if (smallest := nbytes(1 / high)) > budget:
        raise Infeasible(f"{what} needs at least {smallest:,} bytes, the budget is {budget:,}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if nbytes(middle / 1_000_000) <= budget else (low, middle)
    return max(low, 1) / 1_000_000


def small_field_rows(shape: TableShape, budget: int, most: int = 200) -> int:
    """Fields of at most so many rows are worth keeping whole: they say much and cost little.

    ``most`` (DLRM's default for the quotient-remainder trick), or fewer where the small fields would take more than
    half of ``budget`` bytes; that half is this project's own choice. Fields of equally many rows are kept together or
    not at all.
    """
    threshold = kept = 0
    for rows, fields in sorted(Counter(field.cardinality for field in shape.schema.fields).items()):
        kept += rows * fields * shape.width * 4
        if rows > most or kept > budget / 2:
            break
        threshold = rows
    return threshold
