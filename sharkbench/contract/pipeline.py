"""Methods in a row: each works on the model that the one before it returned."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, SerializeAsAny, model_validator

from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Family, Method, Takes

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model
    from sharkbench.tasks.base import Task


class Stage(BaseModel):
    """One method of a pipeline. The last stage gets the run's budget; an earlier one that takes a budget states it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: SerializeAsAny[Method]
    budget: Budget | None = None


class Pipeline(Method):
    """Runs its methods in order, each on the model that the one before it returned."""

    name: Literal["pipeline"] = "pipeline"
    pipeline: tuple[Stage, ...]

    title: ClassVar[str] = "methods in a row"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0
    family: ClassVar[Family] = "none"

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        *earlier, last = self.pipeline
        if last.budget is not None:
            raise ValueError(f"the last stage, '{last.method.name}', gets the suite's budget; remove its 'budget'")
        for stage in earlier:
            if stage.budget is not None and not stage.method.budgeted:
                raise ValueError(
                    f"stage '{stage.method.name}' takes no budget, its settings decide its size; remove its 'budget'"
                )
            if stage.method.budgeted and stage.budget is None:
                raise ValueError(
                    f"stage '{stage.method.name}' needs a 'budget' of its own: only the last gets the suite's"
                )
        for before, stage in pairwise(self.pipeline):
            if stage.method.takes == "fields" and not before.method.leaves_fields:
                raise ValueError(
                    f"'{stage.method.name}' trains anew and takes over no more than which fields are left, so the work "
                    f"of '{before.method.name}', which leaves all of them, would be thrown away; remove that stage, or "
                    "select fields in its place"
                )
        return self

    @property
    def takes(self) -> Takes:
        return self.pipeline[0].method.takes

    @property
    def budgeted(self) -> bool:
        return self.pipeline[-1].method.budgeted

    def check_task(self, task: Task) -> None:
        for stage in self.pipeline:
            stage.method.check_task(task)

    def compress(self, bench: Workbench) -> Model:
        model: Model | None = None
        for number, stage in enumerate(self.pipeline):
            last = number == len(self.pipeline) - 1
            stated = stage.budget.nbytes(bench.fp32_bytes) if stage.budget else None
            budget = (bench.budget if last else stated) if stage.method.budgeted else None
            model = stage.method.compress(bench.for_stage(f"{number}:{stage.method.name}", budget=budget, start=model))
        assert model is not None
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {}
