"""Finds tasks: files and folders under ``tasks/``, those in ``$SHARKBENCH_TASKS``, and entry points of other packages.

Nothing is imported but the task that is asked for: its file or folder is named like it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from sharkbench.errors import InputError, did_you_mean
from sharkbench.keys.closure import USER_PACKAGES
from sharkbench.tasks.base import Task

ENTRY_POINTS = "sharkbench.tasks"
FOLDERS = "SHARKBENCH_TASKS"
_OWN = ("base", "registry")
"""Modules beside the tasks that are none."""


def names() -> list[str]:
    """All task names, sorted; no task is imported."""
    return sorted(_sources())


def get(name: str) -> type[Task]:
    """The task called ``name``.

    Raises:
        InputError: there is none, or it cannot be imported.
    """
    sources = _sources()
    if name not in sources:
        raise InputError(f"unknown task '{name}'{did_you_mean(name, sources)}")
    try:
        found = sources[name]()
        declared = found.model_fields["name"].default
    except Exception as error:
        raise InputError(f"task '{name}' cannot be imported: {type(error).__name__}: {error}") from error
    if declared != name:
        raise InputError(f"task file '{name}' declares the name '{declared}': they must be the same")
    return found


def available() -> dict[str, type[Task]]:
    """All tasks that can be imported; one that cannot is warned of and left out."""
    found = {}
    for name in names():
        try:
            found[name] = get(name)
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def parse(entry: Any) -> Task:
    """A task from what a suite says: ``ctr`` or ``{name: ctr, ...}``.

    Raises:
        ValueError: unknown task or an entry of another shape.
        pydantic.ValidationError: a setting is wrong.
    """
    if isinstance(entry, Task):
        return entry
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ValueError("a task is a name or a mapping with 'name'")
    try:
        task = get(entry["name"])
    except InputError as error:
        raise ValueError(str(error)) from error
    return task.model_validate(entry)


AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(parse)]


def _sources() -> dict[str, Callable[[], type[Task]]]:
    sources: dict[str, Callable[[], type[Task]]] = {}

    def add(name: str, load: Callable[[], type[Task]], origin: object) -> None:
        if name in sources:
            raise InputError(f"two tasks are called '{name}' (the second: {origin}); rename one")
        sources[name] = load

    built_in = Path(__file__).parent
    for folder in (built_in, *_folders()):
        package = __package__ if folder == built_in else _package_of(folder)
        for path in _modules_in(folder):
            if folder != built_in or path.stem not in _OWN:
                add(path.stem, lambda module=f"{package}.{path.stem}": _only_task(module), path)  # type: ignore[misc]
    for point in _entry_points():
        add(point.name, point.load, f"entry point {point.value}")
    return sources


def _modules_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(("_", ".")) and (path.suffix == ".py" or (path / "__init__.py").is_file()):
            yield path


@cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Cached: looking through all that is installed takes some 40 ms, and every stored run asks."""
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))


def _folders() -> list[Path]:
    folders = [Path(p) for p in os.environ.get(FOLDERS, "").split(os.pathsep) if p]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{FOLDERS} names '{folder}', which is not a folder")
    return folders


def _package_of(folder: Path) -> str:
    """A package for a folder of a user's tasks, named by its path: two folders may have files of one name."""
    name = f"{USER_PACKAGES}_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def _only_task(name: str) -> type[Task]:
    module = importlib.import_module(name)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define exactly one Task, it defines {len(found)}")
    return found[0]
