"""In MLflow a search is one parent run, with all that it has written and a curve per study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Any

from mlflow import MlflowClient

from sharkbench.search.report import write_report
from sharkbench.search.track import track_search
from sharkbench.suite.model import Tracking
from sharkbench.tracking import tracking_uri
from sharkbench.tracking.tracker import INVOCATION
from tests.search.conftest import Bench


def test_a_search_is_a_parent_run_with_its_files_and_the_best_auc_by_trial(bench: Bench) -> None:
    searched = bench.search(modes=["lossless", "per_budget", "pareto"], tune="learning_rate", trials=4)
    searched = replace(searched, suite=searched.suite.model_copy(update={"tracking": Tracking()}))
    files = write_report(searched)
    track_search(searched, files)
    track_search(replace(searched, invocation="another", interrupted=True), [])

    client = MlflowClient(tracking_uri=tracking_uri(searched.suite, bench.out))
    experiment = client.get_experiment_by_name("faked")
    assert experiment is not None
    runs = {run.data.tags[INVOCATION]: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        f"search-{searched.invocation}": "FINISHED",
        "search-another": "KILLED",
    }
    number = runs[f"search-{searched.invocation}"].info.run_id
    written = {file.relative_to(bench.out).as_posix() for file in files}
    assert {"search/report.html", "search/plots.html", "search/trials.csv"} < written
    assert set(_files(client, number)) >= written
    for search in searched.searches:
        ok = sorted((t for t in search.finished if t.outcome.status == "ok"), key=lambda trial: trial.number)
        curve = client.get_metric_history(number, f"best valid AUC/{search.name}")
        best = accumulate((trial.outcome.value for trial in ok), max)
        assert [(point.step, point.value) for point in curve] == list(zip([t.number for t in ok], best, strict=True))


def _files(client: MlflowClient, run: str, folder: str | None = None) -> Iterator[Any]:
    for entry in client.list_artifacts(run, folder):
        yield from _files(client, run, entry.path) if entry.is_dir else [entry.path]
