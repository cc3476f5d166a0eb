"""One cell of a suite, resolved: everything that decides its outcome, and the key that names it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

from sharkbench import registry
from sharkbench.backbones.config import BackboneConfig
from sharkbench.budget import Budget
from sharkbench.data.spec import DatasetSpec
from sharkbench.measure.spec import MeasureSpec
from sharkbench.method import Method
from sharkbench.tasks.config import TaskConfig
from sharkbench.training.recipe import Recipe

OUTCOME_VERSION = 1
"""Raise it when a change of training, backbones, formats or metrics alters results: stored ones are then not reused."""

_LATER = ("processes", "shard_tables")
"""Settings of the recipe that change nothing at their defaults."""

AnyMethod = Annotated[SerializeAsAny[Method], BeforeValidator(registry.parse)]


class RunSpec(BaseModel):
    """Data set x backbone x method x budget x seed, with the recipe. Serialises to JSON and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    dataset: DatasetSpec
    fingerprint: str
    """Of the prepared data: source bytes, settings, encoder version."""
    task: TaskConfig
    backbone: BackboneConfig
    dimension: int
    method: AnyMethod
    method_label: str
    method_version: str
    budget: Budget | None
    seed: int
    train: Recipe
    measure: MeasureSpec
    timeout: float | None = Field(default=None)
    judged_on: Literal["test", "valid"] = "test"
    """The split of the reported quality and of the timed ids. A run that is judged on validation, such as a trial of a
    search, never opens the test split."""

    @property
    def key(self) -> str:
        """Hash of all that decides the outcome; labels, the suite's name and what only limits or times it stay out."""
        return _digest(self._outcome())

    @property
    def full_key(self) -> str:
        """Names the full-precision model that this run's method may start from; methods and budgets share it."""
        own = ("method", "method_version", "budget", "judged_on")
        shared = {k: v for k, v in self._outcome().items() if k not in own}
        return _digest(shared)

    def _outcome(self) -> dict[str, Any]:
        data = self.model_dump(mode="json", exclude={"suite", "method_label", "measure", "timeout", "dataset"})
        for setting in _LATER:  # does not rename what was stored before there was such a setting
            if data["train"][setting] == Recipe.model_fields[setting].default:
                del data["train"][setting]
        if self.judged_on == "test":
            del data["judged_on"]
        return {**data, "dataset": self.fingerprint, "version": OUTCOME_VERSION}


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:20]
