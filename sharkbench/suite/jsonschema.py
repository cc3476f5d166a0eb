"""The JSON Schema of suites; editors use it to complete keys, method names and their settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sharkbench.backbones import BACKBONES, BackboneSettings
from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Method
from sharkbench.data.columns import Columns
from sharkbench.data.spec import SOURCES
from sharkbench.results.metrics import monitored
from sharkbench.suite.entries import BackboneEntry, DatasetEntry, MethodEntry
from sharkbench.suite.model import Suite
from sharkbench.suite.search import COSTS
from sharkbench.tasks.base import Task
from sharkbench.tasks.registry import TASKS


def suite_schema(own: Callable[[type[BaseModel]], bool] = lambda kind: True) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a suite file.

    Args:
        own: selects which of the importable methods, backbones, sources and tasks to include.
    """
    methods = {name: kind for name, kind in registry.available().items() if own(kind)}
    backbones = {name: kind for name, kind in BACKBONES.available().items() if own(kind)}
    sources = {name: kind for name, kind in SOURCES.available().items() if own(kind)}
    tasks = {name: kind for name, kind in TASKS.available().items() if own(kind)}
    models: list[type[BaseModel]] = [Suite, *methods.values(), *backbones.values(), *sources.values(), *tasks.values()]
    keys, schema = models_json_schema([(model, "validation") for model in models])
    definitions = schema["$defs"]
    suite = definitions.pop(_name(keys[Suite, "validation"]))
    bare = [short for kind in sources.values() for short in kind.bare_names()]
    for entry, base, named, names in (
        (DatasetEntry, Columns, sources, bare),
        (BackboneEntry, BackboneSettings, backbones, backbones),
    ):
        own_keys = [keys[kind, "validation"] for kind in named.values()]
        _write_in_one_mapping(definitions, entry.__name__, own_keys, sorted(names))
        definitions.pop(base.__name__)
    references = {name: keys[method, "validation"] for name, method in methods.items()}
    for name, reference in references.items():
        _describe_method(definitions[_name(reference)], methods[name])
    by_name = {"enum": sorted(references)}
    definitions["Stage"] = {"anyOf": [by_name, *references.values()]}
    definitions["Pipeline"] = {
        "description": "Methods in a row, each on the model that the one before it returned.",
        "type": "object",
        "properties": {
            "pipeline": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Stage"}},
            "as": _AS,
            "budgets": _BUDGETS,
        },
        "required": ["pipeline"],
        "additionalProperties": False,
    }
    definitions[MethodEntry.__name__] = {"anyOf": [by_name, *references.values(), {"$ref": "#/$defs/Pipeline"}]}
    definitions.pop(Method.__name__)
    _describe_tasks(definitions, {name: keys[task, "validation"] for name, task in tasks.items()}, tasks)
    definitions[Budget.__name__] = _BUDGET
    suite["properties"]["extends"] = {
        "type": "string",
        "description": "Another suite to take over: a path from this file, or the name of a built-in suite. "
        "Mappings merge, lists and values replace.",
    }
    needed = [key for key in suite.pop("required") if key != "name"]
    suite["anyOf"] = [{"required": ["extends"]}, {"required": needed}]
    return _tidy({"$schema": "https://json-schema.org/draft/2020-12/schema", **suite, "$defs": definitions})


def rendered(own: Callable[[type[BaseModel]], bool] = lambda kind: True) -> str:
    """:func:`suite_schema` as text, the same on every machine."""
    return json.dumps(suite_schema(own), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


_AS = {"type": "string", "description": "What its row is called; made from its name and settings unless given."}
_BUDGETS = {
    "type": "array",
    "minItems": 1,
    "items": {"$ref": "#/$defs/Budget"},
    "description": "Its own budgets, in place of the suite's.",
}
_BUDGET = {
    "description": " ".join((Budget.__doc__ or "").split()),
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGTkmgt]?[iI]?[bB])\s*$"},
    ],
}


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def _write_in_one_mapping(
    definitions: dict[str, Any], entry: str, options: Sequence[Mapping[str, Any]], bare: Sequence[str]
) -> None:
    """Move ``train`` into the mapping of the settings of its data set or backbone, as YAML has it."""
    train = definitions[entry]["properties"]["train"]
    for reference in options:
        definition = definitions[_name(reference)]
        definition["properties"]["train"] = {"$ref": "#/$defs/Recipe", "description": train["description"]}
    definitions[entry] = {"anyOf": [{"enum": list(bare)}, *options]}


def _describe_method(definition: dict[str, Any], method: type[Method]) -> None:
    definition["description"] = f"{method.title}. {method.paper}"
    definition["required"] = sorted({"name", *definition.get("required", ())})
    definition["properties"]["as"] = _AS
    definition["properties"]["budgets"] = _BUDGETS
    definition["properties"]["budget"] = {
        "$ref": "#/$defs/Budget",
        "description": "Within a pipeline: the budget of a stage that is not the last.",
    }


def _describe_tasks(
    definitions: dict[str, Any], references: Mapping[str, Any], tasks: Mapping[str, type[Task]]
) -> None:
    """Describe a task, given by name or with its settings, and the keys that depend on its metrics."""
    for reference in references.values():
        definitions[_name(reference)]["required"] = ["name"]
    definitions[Task.__name__] = {"anyOf": [{"enum": sorted(references)}, *references.values()]}
    metrics = [metric for task in tasks.values() for metric in task.metrics]
    primary = sorted({metric.name for metric in metrics if metric.primary})
    recipe, search, reference = (definitions[one]["properties"] for one in ("Recipe", "SearchSpec", "Reference"))
    recipe["monitor"] = {**_described(recipe["monitor"]), "enum": sorted({m.name for m in monitored(metrics)})}
    reference["metric"] = {**_described(reference["metric"]), "enum": sorted({metric.name for metric in metrics})}
    search["objectives"] = {
        **_described(search["objectives"]),
        "type": "array",
        "minItems": 2,
        "items": {"enum": [*primary, *COSTS]},
    }


def _described(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"], "type": "string"}


def _tidy(schema: Any) -> Any:
    """Remove the titles that pydantic generates, and put each description on one line."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy
