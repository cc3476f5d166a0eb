"""Methods in a row: each works on the model that the one before it returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, SerializeAsAny, model_validator

from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Family, Method

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.data.schema import Schema
    from sharkbench.model.model import Model
    from sharkbench.tasks.base import Task


class Stage(BaseModel):
    """One method of a pipeline. The last stage gets the run's budget; an earlier one may state its own."""

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
            if stage.method.budgeted and stage.budget is None:
                raise ValueError(
                    f"stage '{stage.method.name}' needs a 'budget' of its own: only the last gets the suite's"
                )
        for stage in self.pipeline[1:]:
            if not stage.method.from_model:
                raise ValueError(
                    f"'{stage.method.name}' trains from scratch, so it can only be the first of a pipeline"
                )
        return self

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
            budget = bench.budget if last else stage.budget.nbytes(bench.fp32_bytes) if stage.budget else None
            own = bench.for_stage(f"{number}:{stage.method.name}", budget=budget, start=model)
            method = stage.method
            if method.budgeted and budget is not None:
                # A stage is sized for the fields that are left when its turn comes.
                shape = bench.shape
                if model is not None:
                    shape = shape.with_schema(with_fields(bench.schema, model.embedding.fields))
                method = method.sized_for(budget, shape)
            model = method.compress(own)
        assert model is not None
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {}


def with_fields(schema: Schema, fields: Sequence[int]) -> Schema:
    """``schema`` with some of its fields only, their frequencies included."""
    counts = schema.frequencies
    if counts is not None:
        counts = np.concatenate([counts[schema.offsets[f] : schema.offsets[f + 1]] for f in fields])
    return replace(schema, fields=tuple(schema.fields[f] for f in fields), frequencies=counts)
