"""One run of a suite, resolved: everything that determines its outcome, and its key."""

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
"""The module that computes and evaluates a model: its imports determine results, its callers do not."""

AnyMethod = Annotated[SerializeAsAny[Method], BeforeValidator(registry.parse)]


class RunSpec(BaseModel):
    """One combination of data set, backbone, method, budget and seed, with the recipe. Serialises to JSON and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    dataset: DatasetSpec
    fingerprint: str
    """Fingerprint of the data: source bytes and settings."""
    task: AnyTask
    backbone: BackboneConfig
    dimension: int
    method: AnyMethod
    method_label: str
    code: str = Field(default="", validation_alias=AliasChoices("code", "method_version"))
    """Digest of all project code that determines the outcome. Runs stored before there were digests have another text,
    which matches no code."""
    shared_code: str = ""
    """The same without the method's code: digest of the code that trains the full-precision model."""
    budget: Budget | None
    seed: int
    train: Recipe
    measure: MeasureSpec
    timeout: float | None = Field(default=None)
    judged_on: Literal["test", "valid"] = "test"
    """The split of the reported quality and of the timed ids. A run evaluated on validation, such as a trial of a
    search, never opens the test split."""

    @property
    def key(self) -> str:
        """Run key: hash of all that determines the outcome, without labels, suite name, time limits and timing."""
        return _digest([self.code, self.outcome])

    @property
    def full_key(self) -> str:
        """Key of the full-precision model that this run's method may start from; methods and budgets share it."""
        own = ("method", "budget", "judged_on")
        return _digest([self.shared_code, {k: v for k, v in self.outcome.items() if k not in own}])

    @property
    def identity(self) -> str:
        """Hash of all that determines the outcome except the code: it identifies the same run across code versions."""
        return _digest(self.outcome)

    @property
    def outcome(self) -> dict[str, Any]:
        """The settings that determine the outcome, besides the code, where they differ from the defaults."""
        left_out = ("suite", "method_label", "measure", "timeout", "dataset", "code", "shared_code")
        said = {name: value for name, value in stated(self).items() if name not in left_out}
        if self.train.monitor == self.task.primary.name:  # the default if nothing is stated
            del said["train"]["monitor"]
        return said

    @property
    def shared_roots(self) -> frozenset[str]:
        """Modules that, with all their imports, determine the full-precision model of this run."""
        settings = (type(one).__module__ for one in (self.dataset, self.task, self.backbone, self.train))
        return frozenset((CELL, *settings))

    @property
    def roots(self) -> frozenset[str]:
        """Modules that, with all their imports, determine the outcome of this run."""
        budget = {type(self.budget).__module__} if self.budget is not None else set()
        return self.shared_roots | budget | registry.modules_of(self.method)

    def by(self, code: Snapshot) -> Self:
        """The same run, to be computed by ``code``."""
        update = {"code": code.digest(self.roots), "shared_code": code.digest(self.shared_roots)}
        return self.model_copy(update=update)

    def timed_by(self, code: Snapshot) -> str:
        """Digest of the code that times this run's lookups: formats, their Python kernels, and the timing code."""
        formats = [name for name in code.closure(self.roots) if name.startswith(FORMATS)]
        return code.digest((TIMING, type(self.backbone).__module__, *formats), without=())


def compiled_kernels() -> str:
    """Digest of the sources of the compiled kernels; ``""`` if there are none."""
    try:
        return str(importlib.import_module(f"{FORMATS}._kernels").digest)
    except (ImportError, AttributeError):
        return ""


def present_code() -> Snapshot:
    """A snapshot of the present code."""
    return Snapshot(default_cache_dir() / "code")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:20]
