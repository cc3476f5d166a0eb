"""A task that this project knows nothing of goes through everything: only its own folder was written for it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from sharkbench.leaderboard import write
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.claims import findings_of
from sharkbench.leaderboard.merge import merge
from sharkbench.leaderboard.report import write_report
from sharkbench.leaderboard.standings import Standing, standings_of
from sharkbench.leaderboard.terminal import print_leaderboard
from sharkbench.results.store import Store
from sharkbench.search.conduct import run_search
from sharkbench.search.report import write_report as write_search_report
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite
from sharkbench.tasks import registry
from sharkbench.tracking import track
from sharkbench.tracking.client import tracking_uri
from tests.faults.small_suite import Folder, leftovers, wait_for
from tests.leaderboard.handmade import add_run
from tests.tasks import made_up

CHANGES: dict[str, Any] = {
    "name": "badly",
    "task": {"name": "badness", "power": 1},
    "methods": ["full", "hash", "qr"],
    "budgets": [0.3],
    "seeds": 3,
    "train": {"epochs": 2, "batch_size": 256, "learning_rate": 0.02, "accelerator": "cpu"},
    "claims": [
        {"says": "no table is bad", "method": "hash", "at_most": 1},
        {"says": "hashing is better than nothing", "method": "hash", "against": "full", "at_most": -1},
    ],
    "search": {"modes": ["lossless", "per_budget", "pareto"], "methods": ["hash"], "trials": 2, "tolerance": 0.5},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With the folder of the task, and data of users."""
    place = tmp_path_factory.mktemp("badness")
    made_up.write(place / "tasks")
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 40, 2000), rng.integers(0, 300, 2000)
    likes = (rng.random((40, 300))[users, items] + 0.5 * (items % 2) > 0.9).astype(int)
    rows = zip(users, items, likes, strict=True)
    (place / "data.csv").write_text("user,item,like\n" + "".join(f"u{u},i{i},{y}\n" for u, i, y in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(registry.FOLDERS, str(place / "tasks"))
        yield place


def folder(place: Path, name: str) -> Folder:
    data = {"source": "csv", "name": "likes", "path": str(place / "data.csv"), "labels": "like", "group": "user"}
    made = Folder(place / name, datasets=[data], **CHANGES)
    made.cache = place / "cache"
    return made


@pytest.fixture(scope="module")
def whole(place: Path) -> Folder:
    """Run without a disturbance."""
    made = folder(place, "whole")
    code, said = made.run()
    assert code == 0, said
    assert "badness like " in said
    return made


@pytest.fixture
def suite(whole: Folder) -> Suite:
    return load(whole.suite)


@pytest.fixture
def standings(whole: Folder) -> list[Standing]:
    return standings_of(cells_of(whole.store))


def test_a_killed_suite_ends_with_the_same_bits(place: Path, whole: Folder) -> None:
    killed = folder(place, "killed")
    process = killed.start()
    wait_for(lambda: killed.store.keys())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not killed.processes())
    assert 0 < len(killed.store.keys()) < len(whole.store.keys())
    code, said = killed.run()
    assert code == 0, said
    assert killed.outcome() == whole.outcome()
    assert leftovers(killed.out) == []


def test_a_result_says_what_its_figures_are(whole: Folder) -> None:
    for result in whole.store.results():
        assert (result.task, [metric.name for metric in result.metrics]) == ("badness", ["badness"])
        assert result.quality.keys() == result.quality_valid.keys() == result.pack_gap.keys() == {"like"}
        assert result.quality["like"].keys() == result.history[0].valid["like"].keys() == {"badness"}
        users = result.parts["like"]["badness"].samples["users"]
        assert np.mean(users) == pytest.approx(result.quality["like"]["badness"])
        best = min(epoch.valid["like"]["badness"] for epoch in result.history)
        assert result.quality_valid["like"]["badness"] == pytest.approx(best, abs=1e-6), "the lowest was kept"


def test_the_lowest_is_the_best_in_every_table(whole: Folder, standings: list[Standing], tmp_path: Path) -> None:
    ranked = [(s.cell.value_mean, s.rank) for s in standings if s.rank is not None]
    assert len(ranked) == 2
    assert sorted(ranked)[0][1] == 1
    board, runs = write(whole.out, standings)
    rows = list(csv.DictReader(board.open()))
    names = ["mean", "std", "delta", "delta_low", "delta_high", "delta_p", "resolution"]
    assert {f"badness_{name}" for name in names} <= rows[0].keys()
    assert {"badness", "valid_badness", "pack_gap"} <= next(csv.DictReader(runs.open())).keys()
    assert not any("auc" in name or "task" in name for name in rows[0])
    assert all(float(row["badness_resolution"]) > 0 for row in rows if row["method"] != "full")
    console = Console(width=120, record=True, file=(tmp_path / "said").open("w"))
    print_leaderboard(whole.out, console, standings)
    said = console.export_text()
    best = min((s for s in standings if s.rank is not None), key=lambda s: s.cell.value_mean or 0).cell
    assert f"* {best.name.method}" in said
    assert f"{100 * (best.value_mean or 0):.3f} ±" in said
    assert "best badness of its budget" in said


def test_the_report_speaks_of_it(whole: Folder, suite: Suite, tmp_path: Path) -> None:
    paths = write_report(whole.store, suite, tmp_path, {})
    page = paths[0].read_text()
    visible = page[: page.index("<script")] + page[page.index("<body") :]
    assert "Test badness against bytes" in visible
    assert "users show" in visible
    assert "AUC" not in visible
    plots = {path.name for path in paths if path.suffix == ".png"}
    assert any(name.startswith("badness_bytes-likes") for name in plots)


def test_claims_are_held_against_it(whole: Folder, suite: Suite) -> None:
    verdicts = [(f.claim.figure, f.label, f.verdict) for f in findings_of(whole.store, suite.claims)]
    assert verdicts == [("badness", "like", "held"), ("badness", "like", "not held")]


def test_mlflow_has_it_by_its_name(whole: Folder, suite: Suite, empty_database: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    merge([whole.out], tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    assert track(suite, tmp_path) == len(whole.store.keys())
    client = MlflowClient(tracking_uri=tracking_uri(suite, tmp_path))
    experiment = client.get_experiment_by_name("badly")
    [run, *_] = client.search_runs([experiment.experiment_id], "tags.`sharkbench.status` = 'ok'")
    names = {"badness", "badness_like", "valid_badness", "pack_gap_like"}
    assert names <= run.data.metrics.keys()
    assert any(name.endswith("/valid_badness_like") for name in run.data.metrics)
    assert run.data.params["train.monitor"] == "badness"


def test_a_search_makes_it_lower(place: Path, suite: Suite, tmp_path: Path) -> None:
    searched = run_search(suite, tmp_path, cache_dir=place / "cache")
    for search in searched.searches:
        ok = [trial for trial in search.finished if trial.outcome.status == "ok"]
        assert ok, [trial.outcome for trial in search.finished]
        best = search.best()
        assert best is not None
        if search.mode != "lossless":
            assert best.outcome.value == min(trial.outcome.value for trial in ok)
        assert search.directions() == (("minimize",) * (2 if search.mode == "pareto" else 1))
    write_search_report(searched)
    chosen = list(csv.DictReader((searched.folder / "chosen.csv").open()))
    assert {"valid_badness", "test_badness", "test_badness_delta"} <= chosen[0].keys()
    assert all(row["test_badness"] for row in chosen)
    page = (searched.folder / "report.html").read_text()
    assert "test badness" in page
    assert "AUC" not in page


def test_two_tasks_in_one_store_are_never_ranked_together(whole: Folder, tmp_path: Path) -> None:
    merge([whole.out], tmp_path)
    store = Store(tmp_path)
    for method, auc in (("plain", 0.8), ("hash", 0.7), ("qr", 0.75)):
        for seed in range(3):
            budget = None if method == "plain" else 0.3
            add_run(store, method, budget, seed, {"like": auc + seed / 1000}, dataset="likes", split="random")
    standings = standings_of(cells_of(store))
    for task, names in (("badness", ["badness"]), ("ctr", [metric.name for metric in registry.get("ctr").metrics])):
        own = [standing for standing in standings if standing.section.task == task]
        assert len(own) == 3
        assert {metric.name for s in own for metric in s.cell.metrics} == set(names)
        assert sorted(s.rank for s in own if s.rank is not None) in ([1, 2], [1, 1])
        assert all(run.result.task == task for s in own for run in (*s.cell.runs, *s.cell.references))
    board, runs = write(tmp_path, standings)
    for row in csv.DictReader(board.open()):
        assert bool(row["badness_mean"]) == (row["task"] == "badness")
        assert bool(row["auc_mean"]) == bool(row["logloss_mean"]) == (row["task"] == "ctr")
    assert {row["task"] for row in csv.DictReader(runs.open())} == {"badness", "ctr"}
    page = write_report(store, load({**json.loads(whole.suite.read_text()), "claims": []}), tmp_path, {})[0].read_text()
    assert 'id="summary-table-badness"' in page
    assert 'id="summary-table-ctr"' in page
