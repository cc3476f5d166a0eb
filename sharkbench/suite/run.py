"""One cell of a suite, resolved: everything that decides its outcome, and the key that names it."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

from sharkbench.backbones import BackboneConfig
from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Method
from sharkbench.data.cache import default_cache_dir
from sharkbench.data.spec import DatasetSpec
from sharkbench.keys.closure import Snapshot
from sharkbench.keys.stated import stated
from sharkbench.measure.spec import MeasureSpec
from sharkbench.tasks.registry import AnyTask
from sharkbench.training.recipe import Recipe

FORMATS, TIMING = "sharkbench.formats", "sharkbench.measure.lookup"
CELL = "sharkbench.runner.cell"
"""The module that makes and judges a model: what it imports decides results, what calls it does not."""

AnyMethod = Annotated[SerializeAsAny[Method], BeforeValidator(registry.parse)]


class RunSpec(BaseModel):
    """Data set x backbone x method x budget x seed, with the recipe. Serialises to JSON and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    dataset: DatasetSpec
    fingerprint: str
    """Of the data: source bytes and settings."""
    task: AnyTask
    backbone: BackboneConfig
    dimension: int
    method: AnyMethod
    method_label: str
    code: str = Field(default="", validation_alias=AliasChoices("code", "method_version"))
    """Digest of all own code that decides the outcome. Runs of before there was one have another text here, which no
    code has."""
    shared_code: str = ""
    """The same without the method's: of the code that makes the full-precision model."""
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
        return _digest([self.code, self.outcome])

    @property
    def full_key(self) -> str:
        """Names the full-precision model that this run's method may start from; methods and budgets share it."""
        own = ("method", "budget", "judged_on")
        return _digest([self.shared_code, {k: v for k, v in self.outcome.items() if k not in own}])

    @property
    def identity(self) -> str:
        """Hash of all that decides the outcome but the code: what is the same run, by whatever code it was done."""
        return _digest(self.outcome)

    @property
    def outcome(self) -> dict[str, Any]:
        """What decides the outcome besides the code, as far as it is not the default."""
        left_out = ("suite", "method_label", "measure", "timeout", "dataset", "code", "shared_code")
        said = {name: value for name, value in stated(self).items() if name not in left_out}
        if self.train.monitor == self.task.primary.name:  # what it is where nothing is stated
            del said["train"]["monitor"]
        return said

    @property
    def shared_roots(self) -> frozenset[str]:
        """Modules that, with all that they import, make the full-precision model of this run."""
        settings = (type(one).__module__ for one in (self.dataset, self.task, self.backbone, self.train))
        return frozenset((CELL, *settings))

    @property
    def roots(self) -> frozenset[str]:
        """Modules that, with all that they import, decide the outcome of this run."""
        budget = {type(self.budget).__module__} if self.budget is not None else set()
        return self.shared_roots | budget | registry.modules_of(self.method)

    def by(self, code: Snapshot) -> Self:
        """The same run, to be done by ``code``."""
        update = {"code": code.digest(self.roots), "shared_code": code.digest(self.shared_roots)}
        return self.model_copy(update=update)

    def timed_by(self, code: Snapshot) -> str:
        """Digest of the code that times this run's lookups: formats, with their kernels in Python, and the timing."""
        formats = [name for name in code.closure(self.roots) if name.startswith(FORMATS)]
        return code.digest((TIMING, type(self.backbone).__module__, *formats), without=())


def compiled_kernels() -> str:
    """Digest of the sources of the compiled kernels; ``""`` where there are none."""
    try:
        return str(importlib.import_module(f"{FORMATS}._kernels").digest)
    except (ImportError, AttributeError):
        return ""


def present_code() -> Snapshot:
    """The code as it is now."""
    return Snapshot(default_cache_dir() / "code")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:20]
