"""Tasks by name: from this package, from the folders of ``$SHARKBENCH_TASKS``, and from other packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from sharkbench import plugins
from sharkbench.errors import InputError
from sharkbench.plugins import Plugins
from sharkbench.tasks.base import Task

FOLDERS = plugins.TASKS.variable
TASKS = Plugins(plugins.TASKS, lambda: Task, lambda task: task.model_fields["name"].default)


def names() -> list[str]:
    """All task names, sorted; no task is imported."""
    return TASKS.names()


def get(name: str) -> type[Task]:
    """The task with the name ``name``.

    Raises:
        InputError: there is no such task, or it cannot be imported.
    """
    return TASKS.get(name)


def available() -> dict[str, type[Task]]:
    """All tasks that can be imported; others cause a warning and are left out."""
    return TASKS.available()


def parse(entry: Any) -> Task:
    """Parse the task of a suite: ``ctr`` or ``{name: ctr, ...}``.

    Raises:
        ValueError: the task is unknown or the entry has another form.
        pydantic.ValidationError: a setting is invalid.
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
