"""The schema of a suite: frozen pydantic models that refuse unknown keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.data.options import Labels, SplitSpec
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import InputError
from sharkbench.measure.spec import MeasureSpec
from sharkbench.results.metrics import monitored
from sharkbench.suite import filters
from sharkbench.suite.claims import Claim
from sharkbench.suite.entries import BackboneEntry, DatasetEntry, MethodEntry, label_all
from sharkbench.suite.executors import AnyExecutor, LocalExecutor
from sharkbench.suite.references import Reference
from sharkbench.suite.search import SearchSpec
from sharkbench.tasks.base import Task
from sharkbench.tasks.registry import AnyTask
from sharkbench.training.recipe import Recipe

MAX_RUNS = 20_000
"""Largest number of runs of one suite."""

T = TypeVar("T")


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Tracking(Settings):
    """Whether and where runs are recorded in MLflow."""

    enabled: bool = True
    """Whether runs are recorded in MLflow; the output directory is complete without it."""
    uri: str = ""
    """Tracking URI; by default an SQLite file in the output directory."""


def _counted(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        if value > MAX_RUNS:
            raise ValueError(f"at most {MAX_RUNS:,} seeds, got {value:,}")
        return range(value)
    return value


_Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[
    tuple[_Seed, ...], BeforeValidator(_counted, json_schema_input_type=list[_Seed] | Annotated[int, Field(ge=1)])
]


def _every(value: Any) -> Any:
    """Replace ``all``, alone or in a list, by the names of all methods that have defaults."""
    listed = ["all"] if value == "all" else value
    if not isinstance(listed, list | tuple) or "all" not in listed:
        return value
    every = sorted(name for name, method in registry.available().items() if registry.has_defaults(method))
    return [entry for said in listed for entry in (every if said == "all" else [said])]


class Suite(Settings):
    """A benchmark: all combinations of the listed data sets, backbones, methods, budgets and seeds, with one recipe."""

    name: str = Field(max_length=100)
    """Name of the suite and of its output directory; by default the file's name."""
    description: str = ""
    """What the suite is for."""
    labels: Labels | None = None
    """Labels of every data set that does not state its own."""
    split: SplitSpec | None = None
    """Split of every data set that does not state its own."""
    datasets: tuple[DatasetEntry, ...] = Field(min_length=1)
    """Data sets. A mapping may have ``train``: the keys of the training recipe that differ on this data set."""
    task: AnyTask = Field(default="ctr", validate_default=True)
    """What is predicted and how it is evaluated."""
    backbones: tuple[BackboneEntry, ...] = Field(min_length=1)
    """Backbones. A mapping may have ``train``: the keys of the training recipe that differ for this backbone."""
    dimension: int = Field(16, ge=1, le=4096)
    """Embedding dimension."""
    methods: Annotated[
        tuple[MethodEntry, ...],
        BeforeValidator(_every, json_schema_input_type=Literal["all"] | list[Literal["all"] | MethodEntry]),
    ] = Field(min_length=1)
    """``all``, or a list of methods. Each is a name, a mapping with ``name`` and settings, or a ``pipeline``. ``as``
    sets the label of its row, ``budgets`` replaces the suite's budgets."""
    budgets: tuple[Budget, ...] = ()
    """Memory budgets: fractions of the fp32 table (``0.25``) or sizes (``64MB``). Methods without a budget run once."""
    seeds: Seeds = Field((0,), min_length=1)
    """Random seeds: a list, or their number (``3`` means 0, 1, 2)."""
    train: Recipe = Field(Recipe(), validate_default=True)
    """The training recipe."""
    measure: MeasureSpec = MeasureSpec()
    """What is measured besides quality and bytes."""
    executor: AnyExecutor = LocalExecutor()
    """Where runs are executed."""
    tracking: Tracking = Tracking()
    """Whether and where runs are recorded in MLflow."""
    search: SearchSpec | None = None
    """What ``sharkbench search`` searches for, and how."""
    references: tuple[Reference, ...] = ()
    """Published values that the report compares the results with."""
    claims: tuple[Claim, ...] = ()
    """Claims about the results; ``sharkbench claims`` tests them."""

    @field_validator("name", mode="after")
    @classmethod
    def _names_a_directory(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", value):
            raise ValueError(f"'{value}' must be letters, digits, '_', '-' and '.', as it names a directory too")
        return value

    @field_validator("datasets", mode="before")
    @classmethod
    def _share_labels_and_split(cls, value: Any, info: ValidationInfo) -> Any:
        shared = {key: info.data[key] for key in ("labels", "split") if info.data.get(key) is not None}
        return (
            [_with_defaults(entry, shared) for entry in value] if isinstance(value, list | tuple) and shared else value
        )

    @field_validator("methods", mode="after")
    @classmethod
    def _label_methods(cls, value: tuple[MethodEntry, ...]) -> tuple[MethodEntry, ...]:
        return label_all(value)

    @field_validator("datasets", "backbones", mode="after")
    @classmethod
    def _names_differ(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        names = [entry.spec.name for entry in value]
        if double := _repeated(names):
            advice = "give one another 'name'" if info.field_name == "datasets" else "list each once"
            raise ValueError(f"two of them are called '{double}'; {advice}")
        return value

    @field_validator("budgets", "seeds", mode="after")
    @classmethod
    def _no_repeats(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if (double := _repeated(value)) is not None:
            raise ValueError(f"{double} stands in the list more than once")
        return value

    @model_validator(mode="after")
    def _budgets_where_needed(self) -> Self:
        if self.search is not None:
            return self  # a search finds budgets; ``check_against`` reports the modes that need some to start from
        if needy := self.without_budgets:
            raise ValueError(
                f"'budgets' is missing, and '{needy[0]}' needs them; add a line like 'budgets: [0.5, 0.1]'"
            )
        return self

    @model_validator(mode="after")
    def _few_enough_to_run(self) -> Self:
        rows = sum(len(entry.budgets or self.budgets) if entry.spec.budgeted else 1 for entry in self.methods)
        runs = len(self.datasets) * len(self.backbones) * len(self.seeds) * rows
        if runs > MAX_RUNS:
            raise ValueError(f"that makes {runs:,} runs, and {MAX_RUNS:,} are the most; make several suites of it")
        return self

    @model_validator(mode="after")
    def _claims_name_what_is_there(self) -> Self:
        methods = [entry.label for entry in self.methods]
        datasets, backbones = ([entry.spec.name for entry in entries] for entries in (self.datasets, self.backbones))
        for claim in self.claims:
            claim.check_names(methods, datasets, backbones)
        return self

    @model_validator(mode="after")
    def _timed_runs_can_be_meant(self) -> Self:
        try:
            filters.parsed(self.measure.only, "measure.only")
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _search_fits(self) -> Self:
        if self.search is not None:
            self.search.check_against([entry.label for entry in self.methods], self.without_budgets, self.seeds)
        return self

    @field_validator("train", mode="after")
    @classmethod
    def _monitors_a_metric(cls, value: Recipe, info: ValidationInfo) -> Recipe:
        task: Task | None = info.data.get("task")
        if task is None:
            return value  # the task is invalid and has an error of its own
        check_monitor(value.monitor, task, ("monitor",))
        return value.model_copy(update={"monitor": task.monitor(value.monitor).name})

    @field_validator("references", mode="after")
    @classmethod
    def _references_are_of_metrics(cls, value: tuple[Reference, ...], info: ValidationInfo) -> tuple[Reference, ...]:
        task: Task | None = info.data.get("task")
        return value if task is None else tuple(reference.of(task.metrics) for reference in value)

    @field_validator("claims", mode="after")
    @classmethod
    def _claims_are_of_figures(cls, value: tuple[Claim, ...], info: ValidationInfo) -> tuple[Claim, ...]:
        task: Task | None = info.data.get("task")
        return value if task is None else tuple(claim.of(task.metrics) for claim in value)

    @field_validator("search", mode="after")
    @classmethod
    def _search_is_by_a_metric(cls, value: SearchSpec | None, info: ValidationInfo) -> SearchSpec | None:
        task: Task | None = info.data.get("task")
        return value if task is None or value is None else value.of(task.primary)

    @model_validator(mode="after")
    def _recipes_hold(self) -> Self:
        suite = self.train.model_dump(exclude_unset=True)
        entries: dict[str, tuple[DatasetEntry | BackboneEntry, ...]] = {
            "datasets": self.datasets,
            "backbones": self.backbones,
        }
        _RECIPES.validate_python(
            {
                kind: {i: {"train": _merged(suite, entry.train)} for i, entry in enumerate(listed) if entry.train}
                for kind, listed in entries.items()
            }
        )
        for kind, listed in entries.items():
            for i, entry in enumerate(listed):
                check_monitor(entry.train.get("monitor"), self.task, (kind, i, "train", "monitor"))
        return self

    @model_validator(mode="after")
    def _methods_go_with_the_task(self) -> Self:
        for i, entry in enumerate(self.methods):
            try:
                entry.spec.check_task(self.task)
            except ValueError as error:
                said = PydanticCustomError("value_error", "{error}", {"error": str(error)})
                details = InitErrorDetails(type=said, loc=("methods", i), input=entry.label)
                raise ValidationError.from_exception_data("Suite", [details]) from None
        return self

    @property
    def without_budgets(self) -> list[str]:
        """Labels of the methods that need budgets and have none."""
        return [entry.label for entry in self.methods if entry.spec.budgeted and not self.budgets_of(entry)]

    def budgets_of(self, entry: MethodEntry) -> tuple[Budget | None, ...]:
        """The budgets that a method runs at: its own or the suite's; one ``None`` if its settings decide its size."""
        return (entry.budgets or self.budgets) if entry.spec.budgeted else (None,)

    @property
    def jobs(self) -> int:
        """Number of concurrent runs."""
        return self.executor.jobs_for(self.train)

    def recipe(self, dataset: DatasetEntry, backbone: BackboneEntry) -> Recipe:
        """The recipe of one cell: the suite's recipe with the changes of the data set, then those of the backbone."""
        return changed(changed(self.train, dataset.train), backbone.train)


def check_monitor(name: str | None, task: Task, place: tuple[str | int, ...]) -> None:
    """Raise a ValidationError at ``place`` if ``name`` is not a metric that the task monitors."""
    known = [metric.name for metric in monitored(task.metrics)]
    if name is not None and name not in known:
        expected = " or ".join(f"'{one}'" for one in known)
        details = InitErrorDetails(type="literal_error", loc=place, input=name, ctx={"expected": expected})
        raise ValidationError.from_exception_data("Suite", [details])


def _repeated(values: Iterable[T]) -> T | None:
    """The first of ``values`` that repeats an earlier one; ``None`` if all differ."""
    seen: set[T] = set()
    return next((value for value in values if value in seen or seen.add(value)), None)  # type: ignore[func-returns-value]


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """``recipe`` with some keys replaced.

    Raises:
        pydantic.ValidationError: a change is invalid.
    """
    return Recipe.model_validate(_merged(recipe.model_dump(exclude_unset=True), changes)) if changes else recipe


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        same_kind = (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        )
        merged[key] = _merged(old, value) if same_kind else value  # type: ignore[arg-type]
    return merged


def _with_defaults(entry: Any, shared: Mapping[str, Any]) -> Any:
    if isinstance(entry, str):
        # Expand a bare name to the mapping that it stands for, so that labels and split can be added.
        try:
            spec = _DATASET.validate_python(entry)
        except ValidationError:
            return entry  # validating the entry itself reports the error and its location
        entry = {**spec.model_dump(exclude_unset=True), "source": spec.source}
    return {**shared, **entry} if isinstance(entry, Mapping) else entry


_DATASET: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
_RECIPES = TypeAdapter(dict[str, dict[int, dict[str, Recipe]]])
