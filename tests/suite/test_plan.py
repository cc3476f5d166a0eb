"""Which runs a suite is, and in what order."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from sharkbench.errors import InputError
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec

SUITE: dict[str, Any] = {
    "name": "s",
    "datasets": [{"source": "synthetic", "rows": 1000}, {"source": "synthetic", "rows": 2000, "name": "large"}],
    "backbones": ["dnn", {"name": "fm", "train": {"epochs": 3}}],
    "methods": ["qr", "full", {"name": "hash", "as": "the trick"}],
    "budgets": [0.5, "1MB"],
    "seeds": 2,
}


def planned(only: list[str] | None = None, **changes: Any) -> list[RunSpec]:
    return plan(load({**SUITE, **changes}), only or ())


def cell(run: RunSpec) -> tuple[str, str, str, str, int]:
    return run.dataset.name, run.backbone.name, run.method_label, str(run.budget), run.seed


def test_every_cell_once_and_methods_without_a_budget_once_for_all() -> None:
    runs = planned()
    assert len(runs) == len({cell(run) for run in runs}) == len({run.key for run in runs}) == 2 * 2 * 2 * (1 + 2 + 2)
    assert {str(run.budget) for run in runs if run.method_label == "full"} == {"None"}
    assert {str(run.budget) for run in runs if run.method_label == "the trick"} == {"0.5", "1MB"}


def test_a_method_may_have_budgets_of_its_own() -> None:
    few = {"name": "hash", "budgets": [0.25]}
    assert {(run.method_label, str(run.budget)) for run in planned(methods=["full", "qr", few])} == {
        ("full", "None"),
        ("qr", "0.5"),
        ("qr", "1MB"),
        ("hash", "0.25"),
    }
    assert len(planned(methods=["full", few], budgets=[])) == 2 * 2 * 2 * 2
    for wrong, says in (
        ({"name": "full", "budgets": [0.5]}, "takes no budget"),
        ({"name": "hash", "budgets": [0.5, 0.5]}, "more than once"),
        ({"name": "hash", "budgets": []}, "at least 1"),
    ):
        with pytest.raises(InputError, match=says):
            planned(methods=[wrong])


def test_runs_that_share_a_full_model_stand_together_and_begin_with_it() -> None:
    runs = planned()
    groups = [[*group] for _, group in groupby(runs, key=lambda run: run.full_key)]
    assert len(groups) == len({run.full_key for run in runs}) == 2 * 2 * 2
    assert {group[0].method_label for group in groups} == {"full"}


def test_one_seed_of_all_backbones_comes_before_the_next() -> None:
    order = [key for key, _ in groupby(planned(), key=lambda run: (run.dataset.name, run.seed))]
    assert order == [("synthetic", 0), ("synthetic", 1), ("large", 0), ("large", 1)]


def test_a_run_carries_the_recipe_of_its_cell() -> None:
    assert {(run.backbone.name, run.train.epochs) for run in planned(train={"epochs": 5})} == {("dnn", 5), ("fm", 3)}


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (["method=qr*"], 16),
        (["method=the*"], 16),
        (["method=hash"], 16),
        (["method=qr", "method=full"], 24),
        (["method=qr", "seed=1"], 8),
        (["budget=0.5", "dataset=large", "backbone=f?"], 4),
        (["budget=none"], 8),
    ],
)
def test_only_keeps_what_matches(only: list[str], count: int) -> None:
    runs = planned(only)
    assert len(runs) == count
    assert [run.key for run in runs] == [run.key for run in planned() if run.key in {r.key for r in runs}]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("method", "--only method: write it as key=pattern"),
        ("methods=qr", "--only methods=qr: unknown key 'methods'; did you mean 'method'?"),
        ("method=QR", "no run of 's' matches --only method=QR"),
    ],
)
def test_filters_that_cannot_be_meant(only: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        planned([only])
    assert str(caught.value).startswith(message)


def test_a_suite_says_which_runs_are_timed() -> None:
    every, some = planned(), planned(measure={"only": ["method=hash", "seed=1"], "batch": 7})
    assert [run.key for run in some] == [run.key for run in every]
    timed = [run for run in some if run.measure.lookup]
    assert timed == [run for run in some if run.method.name == "hash" and run.seed == 1]
    assert {run.measure.batch for run in some} == {7}, "those that are timed some day are timed as the suite says"
    assert len(timed) == 8


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("methods=qr", "measure.only methods=qr: unknown key 'methods'; did you mean 'method'?"),
        ("qr", "measure.only qr: write it as key=pattern"),
        ("method=QR", "no run of 's' matches measure.only method=QR"),
    ],
)
def test_what_is_timed_must_be_there(only: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        planned(measure={"only": [only]})


def test_labels_and_names_do_not_change_keys_but_settings_do() -> None:
    keys = [run.key for run in planned()]
    methods = ["qr", "full", "hash"]
    assert [run.key for run in planned(name="t", methods=methods)] == keys
    assert not set(keys) & {run.key for run in planned(dimension=8)}
    assert [run.key for run in planned(measure={"batch": 7}, executor={"timeout": 5})] == keys


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        planned(datasets=[{"source": "parquet", "path": str(tmp_path / "none.parquet"), "labels": ["y"]}])


@pytest.mark.parametrize("name", ["criteo_sample", "avazu_sample", "diabetes", "census"])
def test_runs_on_real_data_survive_json(
    name: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARKBENCH_DATA", str(real_data))
    for run in plan(load(name), cache_dir=tmp_path):
        assert RunSpec.model_validate_json(run.model_dump_json()) == run
