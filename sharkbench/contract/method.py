"""The method contract: a frozen config with one verb.

A method is one file under ``methods/``, named like the method, with one subclass of :class:`Method`. Its fields are its
hyperparameters, ``compress(bench)`` is the paper's algorithm box. Keep the top of the file light (no torch at import:
layers are imported inside ``compress``), because suites are checked by importing the methods that they name. A method
with a layer or a step of its own is a folder: the subclass in ``__init__.py``, the others beside it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from sharkbench.contract.sizing import Size, SizeT, small_field_rows, spend_on_small_fields
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


Takes = Literal["fields", "model"]


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
    leaves_fields: ClassVar[bool] = False
    """Whether the model that it returns may have fewer fields than the one that it got."""
    saves_training_memory: ClassVar[bool] = False
    """Whether the table is smaller than fp32 during training too, not only when served."""

    unsharded: ClassVar[str] = ""
    """Why the rows of its table cannot be divided among processes in training; empty where they can."""

    @property
    def takes(self) -> Takes:
        """What the method takes over from the stage before it in a pipeline: the remaining ``fields``, or the trained
        ``model`` (the full-precision one where it is the first stage)."""
        return "fields"

    @property
    def budgeted(self) -> bool:
        """Whether a budget decides its size; ``False`` where its settings do: such a method runs once."""
        return True

    def size(self, budget: int, shape: TableShape) -> Size:
        """The sizes decided before training, such that the packed layer takes at most ``budget`` bytes, and nearly all
        of them.

        Args:
            budget: bytes; more than any table takes where the settings decide.
            shape: fields, their rows, how often each row is read, and the columns of a row.

        Raises:
            Infeasible: no setting reaches the budget.
        """
        return Size()

    def settled(self, size: Size) -> dict[str, Any]:
        """All settings as used: given, or solved from the budget."""
        return {**dict(self), **{k: v for k, v in vars(size).items() if k in type(self).model_fields}}

    def check_task(self, task: Task) -> None:
        """Raises ValueError where the settings do not suit the task, such as a metric that it does not have."""

    @abstractmethod
    def compress(self, bench: Workbench) -> Model:
        """Train and return the compressed model; ``bench`` is all that a method may use."""

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        """Settings suggested by an Optuna ``trial``; empty where there is nothing to tune."""
        return {}


class WithSmallFields(Method):
    """A method that leaves small fields uncompressed: they are informative and take few bytes."""

    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; 200, or fewer where they would take half the budget, unless
    given."""

    def sparing_small_fields(
        self,
        budget: int,
        shape: TableShape,
        size: Callable[[int, int, TableShape], SizeT],
        nbytes: Callable[[SizeT, TableShape], int] | None = None,
    ) -> SizeT:
        """:meth:`size` by ``size(threshold, budget, shape)``, with the given threshold or one that suits the budget.

        Args:
            nbytes: bytes of the packed layer at a size; where given, the remaining bytes leave further fields
                uncompressed, the smaller ones first.
        """
        if self.threshold is not None:
            return size(self.threshold, budget, shape)
        try:
            found = size(small_field_rows(shape, budget), budget, shape)
        except Infeasible:  # small fields take up to half of the budget, and the other half may not suffice
            return size(0, budget, shape)
        return found if nbytes is None else spend_on_small_fields(found, nbytes, budget, shape)
