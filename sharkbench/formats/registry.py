"""Every packed format by its kind, found by walking this package: a new format is a new file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

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
        for _, candidate in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if not issubclass(candidate, Format) or "kind" not in vars(candidate):
                continue
            if found.setdefault(candidate.kind, candidate) is not candidate:
                raise ValueError(f"two formats are called '{candidate.kind}'")
    return dict(sorted(found.items()))


def format_of_kind(kind: str) -> type[Format]:
    """The class that restores parts of this kind.

    Raises:
        ArtifactError: there is none.
    """
    if kind not in formats():
        raise ArtifactError(f"unknown format '{kind}'{did_you_mean(kind, formats())}")
    return formats()[kind]
