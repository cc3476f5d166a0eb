"""Methods by name: those under ``methods/``, in the folders of ``$SHARKBENCH_METHODS``, and in other packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from sharkbench import plugins
from sharkbench.contract.method import Method
from sharkbench.contract.pipeline import Pipeline, Stage
from sharkbench.errors import InputError
from sharkbench.plugins import Plugins

FOLDERS = plugins.METHODS.variable
METHODS = Plugins(plugins.METHODS, lambda: Method, lambda method: method.model_fields["name"].default)


def names() -> list[str]:
    """All method names, sorted; no method is imported."""
    return METHODS.names()


def get(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        InputError: there is none, or its file cannot be imported.
    """
    return METHODS.get(name)


def available() -> dict[str, type[Method]]:
    """All methods that can be imported; warns of others and leaves them out."""
    return METHODS.available()


def has_defaults(method: type[Method]) -> bool:
    """Whether the method's name alone suffices: no setting is required."""
    return not any(field.is_required() for key, field in method.model_fields.items() if key != "name")


def parse(entry: Any) -> Method:
    """A method from what a suite says: ``qr``, ``{name: qr, operation: add}`` or ``{pipeline: [a, b]}``.

    Raises:
        InputError: unknown method or an entry of another shape.
        pydantic.ValidationError: a setting is invalid.
    """
    if isinstance(entry, Method):
        return entry
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping):
        raise InputError(f"a method is a name, a mapping with 'name', or a pipeline; got {entry!r}")
    if "pipeline" in entry:
        if unknown := set(entry) - {"pipeline", "name"}:
            raise InputError(f"a pipeline takes no other key; got {', '.join(sorted(map(str, unknown)))}")
        if not isinstance(entry["pipeline"], list | tuple) or not entry["pipeline"]:
            raise InputError("a pipeline is a list of methods")
        return Pipeline(pipeline=tuple(_stage(stage) for stage in entry["pipeline"]))
    if not isinstance(entry.get("name"), str):
        raise InputError("a method needs a 'name'")
    return get(entry["name"])(**entry)


def _stage(entry: Any) -> Stage:
    if isinstance(entry, Mapping) and "method" in entry:
        return Stage(method=parse(entry["method"]), budget=entry.get("budget"))
    if isinstance(entry, Mapping) and "budget" in entry:
        return Stage(method=parse({k: v for k, v in entry.items() if k != "budget"}), budget=entry["budget"])
    return Stage(method=parse(entry))


def modules_of(method: Method) -> frozenset[str]:
    """Modules of a method, of its stages, and of the methods in its settings."""
    return frozenset({type(method).__module__}).union(*map(modules_of, _made_of(method)))


def _made_of(value: Any) -> Iterator[Method]:
    """Methods within a method's settings, at any depth."""
    values = (getattr(value, name) for name in type(value).model_fields) if isinstance(value, BaseModel) else value
    for one in values:
        if isinstance(one, Method):
            yield one
        elif isinstance(one, BaseModel | list | tuple):
            yield from _made_of(one)
        elif isinstance(one, Mapping):
            yield from _made_of(list(one.values()))
