"""The studies of a suite's search. Light: no storage is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.errors import InputError
from sharkbench.results.records import REFERENCE
from sharkbench.suite.entries import BackboneEntry, DatasetEntry, MethodEntry
from sharkbench.suite.model import Suite
from sharkbench.suite.search import Mode, SearchSpec


@dataclass(frozen=True)
class Study:
    """One method, searched in one cell in one mode; ``budget`` is set if the mode has one."""

    mode: Mode
    dataset: DatasetEntry
    backbone: BackboneEntry
    entry: MethodEntry
    budget: Budget | None = None


def search_of(suite: Suite) -> SearchSpec:
    """The ``search`` of a suite.

    Raises:
        InputError: the suite has none.
    """
    if suite.search is None:
        raise InputError(
            f"'{suite.name}' does not say what to search for; add a line like 'search: {{modes: [lossless]}}'"
        )
    return suite.search


def studies_of(suite: Suite) -> list[Study]:
    """All studies, in the order of the modes.

    Raises:
        InputError: the suite searches for nothing, or searches no method.
    """
    found = list(_studies(suite, search_of(suite)))
    if not found:
        raise InputError(f"search: '{suite.name}' names no method beside the one that others are compared with")
    return found


def most_runs(suite: Suite) -> int:
    """Upper bound on the number of runs of all trials and of their full-precision references. Stored runs are not
    repeated, and few searches need all of their trials. 0 if time is the limit."""
    search = search_of(suite)
    if search.allowance is None:
        return 0
    cells = len(suite.datasets) * len(suite.backbones)
    references = cells if "lossless" in search.modes else 0
    return (sum(_trials(study, search.allowance) for study in studies_of(suite)) + references) * len(search.seeds)


def _trials(study: Study, allowance: int) -> int:
    return 1 if study.mode == "lossless" and not study.entry.spec.budgeted else allowance


def _studies(suite: Suite, search: SearchSpec) -> Iterator[Study]:
    full = registry.parse(REFERENCE)
    entries = [entry for entry in suite.methods if search.methods == "all" or entry.label in search.methods]
    for mode in search.modes:
        for dataset in suite.datasets:
            for backbone in suite.backbones:
                for entry in entries:
                    if mode == "lossless" and entry.spec == full:
                        continue  # it is the reference of the others
                    for budget in suite.budgets_of(entry) if mode == "per_budget" else (None,):
                        yield Study(mode, dataset, backbone, entry, budget)
