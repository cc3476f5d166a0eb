"""Merges the stores of several machines: of runs that several have, the best is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sharkbench.results.archive import opened
from sharkbench.results.records import Result
from sharkbench.results.store import ENVIRONMENT, SPEED, Store


@dataclass
class Merged:
    """Result of a merge. ``conflicts`` describes runs with different results on two machines; ``refused`` are runs that
    cannot be read or have values out of range."""

    added: int = 0
    replaced: int = 0
    kept: int = 0
    refused: int = 0
    conflicts: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], out: Path) -> Merged:
    """Copy the runs of ``sources`` into the store under ``out``, which may hold some already.

    A run that both have is replaced if only the other one is ok, or if only the other one has a measured speed. Models
    are copied if the source has them; an archive has none. A run whose result cannot be read or has values out of range
    causes a warning and is refused; of its other files, only invalid ones are refused.

    Args:
        sources: output directories, or archives of such.

    Raises:
        InputError: a source holds no results.
    """
    done, target = Merged(), Store(out)
    for source in sources:
        with opened(source) as store:
            for key in store.keys() if store.runs.resolve() != target.runs.resolve() else ():
                if (result := store.get(key)) is not None:
                    _take(store, target, result, done)
                else:
                    done.refused += 1
    return done


def _take(store: Store, target: Store, result: Result, done: Merged) -> None:
    with target.lock(result.key):
        present = target.get(result.key)
        if present is not None:
            if message := _conflict(present, result):
                done.conflicts.append(message + _elsewhere(target, store, result.key))
            if _worth(target, present) >= _worth(store, result):
                done.kept += 1
                return
        directory = target.begin(result.key)
        known = {SPEED: store.speed(result.key), ENVIRONMENT: store.environment(result.key)}
        for file in store.directory(result.key).iterdir():
            if file.is_file() and not file.is_symlink() and known.get(file.name, file) is not None:
                shutil.copyfile(file, directory / file.name)
        target.publish(directory, result.key)
        if present is None:
            done.added += 1
        else:
            done.replaced += 1


def _worth(store: Store, result: Result) -> tuple[bool, bool]:
    return result.status == "ok", store.speed(result.key) is not None


def _conflict(one: Result, other: Result) -> str | None:
    """A line on the conflict if both are ok and differ in a digit that tables show."""
    if one.status != "ok" or other.status != "ok":
        return None
    metric = one.metric
    both = {label: (values, other.quality[label]) for label, values in one.quality.items() if label in other.quality}
    pairs = [
        (label, own[metric.name], theirs[metric.name])
        for label, (own, theirs) in both.items()
        if metric.name in own and metric.name in theirs
    ]
    label, first, second = max(pairs, key=lambda pair: abs(pair[1] - pair[2]), default=("", 0.0, 0.0))
    if abs(first - second) <= metric.step:
        return None
    at = f" at {one.budget}" if one.budget else ""
    where = f"{one.dataset}, {one.backbone}, {one.method_label}{at}, seed {one.seed}"
    return f"{where}: {metric.title} of {label} is {metric.text(first)} here and {metric.text(second)} there"


def _elsewhere(here: Store, there: Store, key: str) -> str:
    """Remark on the hardware: the same seed gives another model on other hardware; on the same, a difference is
    unexpected."""
    one, other = here.environment(key), there.environment(key)
    if one is None or other is None or one.hardware == other.hardware:
        return ""
    return f" ({one.hardware} and {other.hardware})"
