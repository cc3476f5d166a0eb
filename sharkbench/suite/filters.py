"""Filters that select runs of a suite: ``--only`` and ``measure.only``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from sharkbench.errors import InputError, did_you_mean
from sharkbench.suite.run import RunSpec

FILTERS: dict[str, Callable[[RunSpec], tuple[str, ...]]] = {
    "dataset": lambda run: (run.dataset.name,),
    "backbone": lambda run: (run.backbone.name,),
    "method": lambda run: (run.method_label, run.method.name),
    "budget": lambda run: (str(run.budget) if run.budget else "none",),
    "seed": lambda run: (str(run.seed),),
}
"""The keys of a filter, and how each reads its values off a run."""


def parsed(only: Sequence[str], where: str = "--only") -> dict[str, list[str]]:
    """Parse filters like ``method=qr*`` into patterns by key.

    Args:
        where: where the filters were given, for error messages.

    Raises:
        InputError: a filter is invalid.
    """
    filters: dict[str, list[str]] = {}
    for text in only:
        key, equals, pattern = text.partition("=")
        if not equals or not pattern:
            raise InputError(f"{where} {text}: write it as key=pattern, like 'method=qr*'")
        if key not in FILTERS:
            raise InputError(f"{where} {text}: unknown key '{key}'{did_you_mean(key, FILTERS)}")
        filters.setdefault(key, []).append(pattern)
    return filters


def timed(run: RunSpec) -> RunSpec:
    """``run``, with timing switched off if its ``measure.only`` excludes it."""
    if kept(run, parsed(run.measure.only, "measure.only")):
        return run
    return run.model_copy(update={"measure": run.measure.model_copy(update={"lookup": False})})


def kept(run: RunSpec, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether a run matches at least one pattern of every key."""
    return all(
        any(fnmatchcase(value, pattern) for value in FILTERS[key](run) for pattern in patterns)
        for key, patterns in filters.items()
    )
