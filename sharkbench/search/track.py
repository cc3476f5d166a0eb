"""A search in MLflow: a parent run with its report, its plots, and the best of each study by trial."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sharkbench.results.store import Store
from sharkbench.search.conduct import Searched
from sharkbench.search.study import Search
from sharkbench.tracking import Tracker
from sharkbench.tracking.entries import metrics

if TYPE_CHECKING:
    from mlflow.entities import Metric


def track_search(searched: Searched, files: Sequence[Path]) -> str:
    """Record the report of a search under a parent run of its own in the suite's experiment.

    Returns:
        What MLflow refused, in one line; empty if nothing.

    Args:
        files: under the suite's output directory.

    Raises:
        Exception: whatever MLflow raises where the records cannot be reached.
    """
    name = f"search-{searched.invocation}"
    tracker = Tracker(searched.suite, Store(searched.out), name)
    run = tracker.parents[name]
    for search in searched.searches:
        tracker.log(run, _best_so_far(search))
    for file in files:
        folder = file.parent.relative_to(searched.out).as_posix()
        tracker.client.log_artifact(run, str(file), None if folder == "." else folder)
    tracker.close(interrupted=searched.interrupted)
    return tracker.refusals()


def _best_so_far(search: Search) -> Iterator[Metric]:
    now, best, metric = int(time.time() * 1000), None, search.metric
    for trial in sorted(search.finished, key=lambda trial: trial.number):
        if trial.outcome.status == "ok":
            value = trial.outcome.value
            best = value if best is None else max(best, value, key=metric.score)
            yield from metrics([(f"best valid {metric.title}/{search.name}", best)], now, trial.number)
