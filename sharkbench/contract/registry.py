"""Finds methods: under ``methods/``, in folders of ``$SHARKBENCH_METHODS``, by the entry points of other packages.

A method is a file, or a folder with an ``__init__.py``, named like the method. Nothing is imported but the method that
is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from sharkbench.contract.method import Method
from sharkbench.contract.pipeline import Pipeline, Stage
from sharkbench.errors import InputError, did_you_mean
from sharkbench.keys.closure import USER_PACKAGES

ENTRY_POINTS = "sharkbench.methods"
FOLDERS = "SHARKBENCH_METHODS"


def names() -> list[str]:
    """All method names, sorted; no method is imported."""
    return sorted(_sources())


def get(name: str) -> type[Method]:
    """The method called ``name``.

    Raises:
        InputError: there is none, or its file cannot be imported.
    """
    sources = _sources()
    if name not in sources:
        raise InputError(f"unknown method '{name}'{did_you_mean(name, sources)}")
    try:
        found = sources[name]()
    except Exception as error:
        raise InputError(f"method '{name}' cannot be imported: {type(error).__name__}: {error}") from error
    declared = found.model_fields["name"].default
    if declared != name:
        raise InputError(f"method file '{name}' declares the name '{declared}': they must be the same")
    return found


def available() -> dict[str, type[Method]]:
    """All methods that can be imported; one that cannot is warned of and left out."""
    found = {}
    for name in names():
        try:
            found[name] = get(name)
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def has_defaults(method: type[Method]) -> bool:
    """Whether its name alone makes it: no setting is required."""
    return not any(field.is_required() for key, field in method.model_fields.items() if key != "name")


def parse(entry: Any) -> Method:
    """A method from what a suite says: ``qr``, ``{name: qr, operation: add}`` or ``{pipeline: [a, b]}``.

    Raises:
        InputError: unknown method or an entry of another shape.
        pydantic.ValidationError: a setting is wrong.
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
    """Modules of a method, of its stages, and of the methods that are among its settings."""
    return frozenset({type(method).__module__}).union(*map(modules_of, _made_of(method)))


def _made_of(value: Any) -> Iterator[Method]:
    """Methods that a method's settings hold, at any depth."""
    values = (getattr(value, name) for name in type(value).model_fields) if isinstance(value, BaseModel) else value
    for one in values:
        if isinstance(one, Method):
            yield one
        elif isinstance(one, BaseModel | list | tuple):
            yield from _made_of(one)
        elif isinstance(one, Mapping):
            yield from _made_of(list(one.values()))


def _sources() -> dict[str, Callable[[], type[Method]]]:
    sources: dict[str, Callable[[], type[Method]]] = {}

    def add(name: str, load: Callable[[], type[Method]], origin: str) -> None:
        if name in sources:
            raise InputError(f"two methods are called '{name}' (the second: {origin}); rename one")
        sources[name] = load

    for folder in _folders():
        for name, file in _methods_in(folder):
            add(name, lambda name=name, file=file: _only_method(_import_file(name, file)), str(file))  # type: ignore[misc]
    for point in _entry_points():
        add(point.name, point.load, f"entry point {point.value}")
    return sources


@cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Cached: looking through all that is installed takes some 40 ms, and every stored run asks."""
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))


@cache
def _built_in() -> Path:
    spec = importlib.util.find_spec("sharkbench.methods")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _folders() -> list[Path]:
    extra = [Path(p) for p in os.environ.get(FOLDERS, "").split(os.pathsep) if p]
    for folder in extra:
        if not folder.is_dir():
            raise InputError(f"{FOLDERS} names '{folder}', which is not a folder")
    return [_built_in(), *extra]


def _methods_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each method in ``folder``; of one that is a folder itself, its ``__init__.py``."""
    files = {file: file.stem for file in folder.glob("*.py")}
    packages = {file: file.parent.name for file in folder.glob("*/__init__.py")}
    for file, name in sorted({**files, **packages}.items(), key=lambda one: one[1]):
        if not name.startswith(("_", ".")):
            yield name, file


def _import_file(name: str, file: Path) -> ModuleType:
    is_package = file.name == "__init__.py"
    folder = file.parent.parent if is_package else file.parent
    if folder == _built_in():
        return importlib.import_module(f"sharkbench.methods.{name}")
    module_name = f"{_package_of(folder)}.{name}"
    if module_name not in sys.modules:
        inside = [str(file.parent)] if is_package else None
        spec = importlib.util.spec_from_file_location(module_name, file, submodule_search_locations=inside)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    return sys.modules[module_name]


def _package_of(folder: Path) -> str:
    """A package for a folder of a user's methods, so that they may import helpers beside them: ``from ._parts import
    rows``. It is named by the folder's path, as two folders may have files of one name."""
    name = f"{USER_PACKAGES}_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def _only_method(module: ModuleType) -> type[Method]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define exactly one Method, it defines {len(found)}")
    return found[0]
