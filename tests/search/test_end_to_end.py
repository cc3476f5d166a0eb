"""A search for real: the test split stays out of its reach, and what it recommends can be pasted."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import pytest

from sharkbench import api
from sharkbench.data.prepare import prepare
from sharkbench.files.digests import MadeAgain
from sharkbench.results.store import Store
from sharkbench.runner.session import session
from sharkbench.search.conduct import FOLDER, run_search
from sharkbench.search.report import write_report
from sharkbench.search.snippet import snippet
from sharkbench.search.trials import cells
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan

SUITE = """
name: tiny
datasets: [{source: synthetic, rows: 2000, cardinalities: [100, 20]}]
backbones: [{name: dnn, hidden: [8], train: {epochs: 2}}]
dimension: 4
methods: [full, {name: hash, threshold: 0}]
budgets: [0.5]
seeds: [1, 2]
train: {batch_size: 256}
measure: {lookup: false, seconds: 0.1}
tracking: {enabled: false}
search:
  modes: [lossless, per_budget]
  trials: 2
  seeds: [7]
"""

MODES = ["lossless", "per_budget", "pareto"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    return tmp_path / "tiny.yaml"


def test_trials_cannot_see_the_test_split(file: Path, cache: Path, tmp_path: Path) -> None:
    objectives = ["search.modes=[lossless, per_budget, pareto]", "search.objectives=[auc, bytes, lookup]"]
    suite = load(file, ["search.retrain=false", "search.between=[0.1, 1.0]", *objectives])
    data = prepare(suite.datasets[0].spec, cache)
    (data.path / "test.arrow").write_bytes(b"poison")
    searched = run_search(suite, tmp_path / "out", cache_dir=cache)

    assert [trial.outcome.status for search in searched.searches for trial in search.finished] == ["ok"] * 10
    lookups = [
        trial.outcome.lookup for search in searched.searches for trial in search.finished if search.mode == "pareto"
    ]
    assert len(lookups) == 4
    assert all(lookups)
    results = Store(tmp_path / "out" / FOLDER).results()
    assert {result.seed for result in results} == {7}
    assert not any(result.quality for result in results)
    assert not (tmp_path / "out" / "runs").exists()
    # Any other run would have noticed.
    with pytest.warns(MadeAgain, match="test.arrow is damaged"):
        prepare(suite.datasets[0].spec, cache)


def test_what_was_chosen_is_the_run_that_its_yaml_makes(file: Path, cache: Path, tmp_path: Path) -> None:
    suite = load(file)
    searched = run_search(suite, tmp_path / "out", cache_dir=cache)
    paths = write_report(searched)

    assert len(searched.choices) == 3 - (searched.searches[0].best() is None)
    for choice in searched.choices:
        assert choice.trial.configuration is not None
        text = snippet(choice.search, choice.trial.configuration, choice.label)
        (tmp_path / "pasted.yaml").write_text(f"extends: tiny.yaml\n{text}")
        pasted = plan(load(tmp_path / "pasted.yaml"), cache_dir=cache)
        assert [run.key for run in pasted] == [spec.key for spec in choice.specs]
        assert all(Store(tmp_path / "out").get(run.key) for run in pasted)
    page, chosen = paths[0].read_text(), (tmp_path / "out" / FOLDER / "chosen.csv").read_text()
    for choice in searched.choices:
        assert choice.label in page
    assert len(chosen.splitlines()) == 1 + len(searched.choices)
    assert len((tmp_path / "out" / FOLDER / "trials.csv").read_text().splitlines()) == 7


def test_a_trial_and_a_report_s_run_never_stand_for_each_other(file: Path, cache: Path) -> None:
    suite = load(file)
    [cell] = cells(suite, cache)
    [trial] = plan(suite, ["method=full", "seed=1"], cache)
    on_validation = trial.model_copy(update={"judged_on": "valid"})

    assert on_validation.key != trial.key
    assert on_validation.full_key == trial.full_key
    assert cell.fingerprint == trial.fingerprint


def test_a_session_does_not_do_what_is_stored(file: Path, cache: Path, tmp_path: Path) -> None:
    suite = load(file, ["methods=[full]", "seeds=[1]", "search.seeds=[7]"])
    api.run(suite, out=tmp_path / "out", cache_dir=cache)
    told: list[object] = []
    with session(tmp_path / "out", told.append, cache_dir=cache) as at_work:
        asked = [plan(suite, cache_dir=cache)]
        at_work.run(lambda slots: asked.pop() if asked else [])
    assert [event.cached for event in told if hasattr(event, "cached")] == [True]


def test_the_built_in_suite_runs_to_its_end(cache: Path, tmp_path: Path) -> None:
    settings = [
        "datasets=[{source: synthetic, rows: 1500, cardinalities: [100, 50, 20]}]",
        "train.epochs=1", "train.batch_size=256", "seeds=1", "measure.seconds=0.05", "tracking.enabled=false",
        "search.trials=2",
    ]  # fmt: skip
    searched = run_search(load("search_quick", settings), tmp_path / "out", jobs=2, cache_dir=cache)
    write_report(searched)

    methods = ["qr", "f_quantization", "pep"]
    assert [(s.mode, s.entry.label) for s in searched.searches] == list(product(MODES, methods))
    for search in searched.searches:
        assert sorted(trial.number for trial in search.finished) == [0, 1]
        assert search.over
        assert search.default is not None
        assert search.default.outcome.status == "ok"
    chosen = [(row["mode"], row["method"]) for row in rows(searched.folder / "chosen.csv")]
    assert chosen == [(s.mode, s.entry.label) for s in searched.searches for _ in s.chosen()]
    assert set(chosen) >= set(product(["per_budget", "pareto"], methods))
    assert all(row["test_auc"] and row["lookups_ratio_torch"] for row in rows(searched.folder / "chosen.csv"))
    assert len(rows(searched.folder / "trials.csv")) == 18
    # What two modes have chosen is one run, under the name that the later one gives it.
    labels = {spec.key: choice.label for choice in searched.choices for spec in choice.specs}
    board = rows(tmp_path / "out" / "leaderboard.csv")
    assert {row["method"] for row in board} == {"full", *labels.values()}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
