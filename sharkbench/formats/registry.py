"""Every packed format by its kind, found by walking this package: a new format is a new file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType

import sharkbench.formats
from sharkbench.errors import ArtifactError, did_you_mean
from sharkbench.formats.base import Format


@cache
def formats() -> dict[str, type[Format]]:
    """Kind to class, by name."""
    found: dict[str, type[Format]] = {}
    for module in pkgutil.iter_modules(sharkbench.formats.__path__, "sharkbench.formats."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        for candidate in _in(importlib.import_module(module.name)):
            if module.name.rpartition(".")[2] != candidate.kind:
                raise ValueError(f"{module.name} holds the format '{candidate.kind}': they must be called the same")
            found[candidate.kind] = candidate
    return dict(sorted(found.items()))


def format_of_kind(kind: str) -> type[Format]:
    """The class that restores parts of this kind, from the file that is called like it; no other is imported.

    Raises:
        ArtifactError: there is none.
    """
    if not any(module.name == kind for module in pkgutil.iter_modules(sharkbench.formats.__path__)):
        raise ArtifactError(f"unknown format '{kind}'{did_you_mean(kind, formats())}")
    module = importlib.import_module(f"sharkbench.formats.{kind}")
    for candidate in _in(module):
        if candidate.kind == kind:
            return candidate
    raise ArtifactError(f"unknown format '{kind}'{did_you_mean(kind, formats())}")


def _in(module: ModuleType) -> list[type[Format]]:
    """Formats that a module defines."""
    return [
        candidate
        for _, candidate in inspect.getmembers(module, inspect.isclass)
        if issubclass(candidate, Format) and "kind" in vars(candidate) and candidate.__module__ == module.__name__
    ]
