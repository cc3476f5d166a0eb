"""The entries of a suite's lists: data sets, backbones and methods, with the keys that the suite adds to each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from sharkbench.backbones import BackboneConfig
from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Method
from sharkbench.contract.pipeline import Pipeline
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import InputError
from sharkbench.training.recipe import Recipe


@dataclass(frozen=True)
class PartOf:
    """Marks a mapping of some keys of ``model``; it is validated once the other keys are known."""

    model: type[BaseModel]


Changes = Annotated[dict[str, Any], PartOf(Recipe)]
"""Keys of the training recipe to replace."""


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DatasetEntry(Entry):
    """A data set and the recipe keys that differ on it. In YAML, one mapping holds both."""

    spec: DatasetSpec
    train: Changes = {}
    """Keys of the suite's ``train`` that differ on this data set."""

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return _apart(value, "spec", "train")

    @model_serializer
    def _to_yaml(self) -> dict[str, Any]:
        return {**self.spec.model_dump(mode="json"), **({"train": self.train} if self.train else {})}


class BackboneEntry(Entry):
    """A backbone and the recipe keys that differ for it. In YAML, one mapping holds both."""

    spec: BackboneConfig
    train: Changes = {}
    """Keys of the suite's ``train`` that differ for this backbone; they take precedence over the data set's keys."""

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return _apart({"name": value} if isinstance(value, str) else value, "spec", "train")

    @model_serializer
    def _to_yaml(self) -> dict[str, Any]:
        return {**self.spec.model_dump(mode="json"), **({"train": self.train} if self.train else {})}


def _parse(entry: Any) -> Method:
    """Call :func:`registry.parse`; convert its errors to pydantic errors, each with its location within the entry."""
    try:
        if isinstance(entry, Mapping) and isinstance(entry.get("pipeline"), list | tuple):
            entry = {**entry, **_STAGES.validate_python({"pipeline": list(entry["pipeline"])})}
        return registry.parse(entry)
    except InputError as error:
        raise ValueError(str(error)) from error


def _parse_stage(entry: Any) -> dict[str, Any]:
    budget = _BUDGET.validate_python({"budget": entry.get("budget") if isinstance(entry, Mapping) else None})
    method = {k: v for k, v in entry.items() if k != "budget"} if isinstance(entry, Mapping) else entry
    if isinstance(method, Mapping) and set(method) == {"method"}:
        method = method["method"]
    return {"method": _parse(method), **budget}


_BUDGET = TypeAdapter(dict[str, Budget | None])
_STAGES = TypeAdapter(dict[Literal["pipeline"], list[Annotated[Any, BeforeValidator(_parse_stage)]]])


class MethodEntry(Entry):
    """A method with its settings, and the label of its row."""

    spec: Annotated[SerializeAsAny[Method], BeforeValidator(_parse)]
    label: str = Field("", alias="as", max_length=100, pattern=r"^[^\x00-\x1f]*$")
    """Label of the method's row; by default derived from its name and settings."""
    budgets: tuple[Budget, ...] | None = Field(None, min_length=1)
    """Budgets of this method; they replace the suite's budgets."""

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        return _apart({"name": value} if isinstance(value, str) else value, "spec", "as", "budgets")

    @model_validator(mode="after")
    def _budgets_decide(self) -> Self:
        if self.budgets is not None and not self.spec.budgeted:
            raise ValueError(f"'{self.plain_label}' takes no budget, its settings decide its size; remove 'budgets'")
        if doubles := [item for item in self.budgets or () if (self.budgets or ()).count(item) > 1]:
            raise ValueError(f"budgets: {doubles[0]} stands in the list more than once")
        return self

    @model_serializer
    def _to_yaml(self) -> dict[str, Any]:
        budgets = {"budgets": [budget.model_dump(mode="json") for budget in self.budgets]} if self.budgets else {}
        return {**self.spec.model_dump(mode="json"), "as": self.label, **budgets}

    def labelled(self, label: str) -> Self:
        return self.model_copy(update={"label": label})

    @property
    def plain_label(self) -> str:
        """The method's name; for a pipeline, the names of its stages joined by ``+``."""
        if isinstance(self.spec, Pipeline):
            return "+".join(stage.method.name for stage in self.spec.pipeline)
        return self.spec.name


def _apart(value: Any, own: str, *beside: str) -> Any:
    """Turn ``{name: x, beside: y}`` into ``{own: {name: x}, beside: y}``."""
    if not isinstance(value, Mapping) or own in value:
        return value if isinstance(value, Mapping | Entry) else {own: value}
    rest = {k: v for k, v in value.items() if k not in beside}
    return {own: rest, **{k: value[k] for k in beside if k in value}}


def label_all(entries: Sequence[MethodEntry]) -> tuple[MethodEntry, ...]:
    """Give every entry a unique label: the given one, else its name; if a method is listed several times, the settings
    that distinguish its entries are added (``qr(operation=add)``).

    Raises:
        ValueError: two rows would have the same label or the same runs.
    """
    settings: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if (first := settings.setdefault(entry.spec.model_dump_json(), index)) < index:
            raise ValueError(f"methods[{first}] and methods[{index}] are the same method with the same settings")
    groups: dict[str, list[MethodEntry]] = {}
    for entry in entries:
        if not entry.label:
            groups.setdefault(entry.plain_label, []).append(entry)
    different = {label: _different(group) for label, group in groups.items()}
    labelled = tuple(e if e.label else e.labelled(_told_apart(e, different[e.plain_label])) for e in entries)
    seen: dict[str, int] = {}
    for index, entry in enumerate(labelled):
        if entry.label in seen:
            raise ValueError(
                f"methods[{seen[entry.label]}] and methods[{index}] would both be called '{entry.label}'; "
                "remove one, or tell them apart with 'as: some label'"
            )
        seen[entry.label] = index
    return labelled


def _different(group: Sequence[MethodEntry]) -> set[str]:
    """Names of the settings that differ within ``group``."""
    values: dict[str, list[str]] = {}
    for entry in group:
        for key, value in _flat(entry.spec.model_dump(mode="json")).items():
            values.setdefault(key, []).append(repr(value))
    return {key for key, found in values.items() if len(found) < len(group) or len(set(found)) > 1}


def _told_apart(entry: MethodEntry, different: Collection[str]) -> str:
    own = _flat(entry.spec.model_dump(mode="json"))
    # A setting that is not given is left out: its value may depend on data and budget.
    told = {key: value for key, value in own.items() if key in different and value is not None}
    shown = ", ".join(f"{key}={_short(value)}" for key, value in told.items())
    return f"{entry.plain_label}({shown})" if shown else entry.plain_label


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(settings, dict):
        parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in settings.items()]
    elif isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        parts = [_flat(value, f"{prefix}[{index}]") for index, value in enumerate(settings)]
    else:
        return {prefix: settings}
    return {key: value for part in parts for key, value in part.items()}


def _short(value: Any) -> str:
    text = (
        "+".join(map(str, value))
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return text if len(text) <= 24 else text[:21] + "..."
