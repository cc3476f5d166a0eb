"""What a suite's keys mean once they are good."""

from __future__ import annotations

from typing import Any

import pytest

from sharkbench.contract import registry
from sharkbench.errors import InputError
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite


def suite(**changes: Any) -> Suite:
    return load(
        {"name": "s", "datasets": ["synthetic"], "backbones": ["dnn"], "methods": ["full"], "budgets": [0.5], **changes}
    )


def labels(*methods: Any) -> list[str]:
    return [entry.label for entry in suite(methods=list(methods)).methods]


def test_a_method_is_called_by_its_name_or_as_the_suite_says() -> None:
    assert labels("qr", {"name": "hash", "as": "the trick"}) == ["qr", "the trick"]


def test_all_is_every_method() -> None:
    named = [entry.label for entry in suite(methods="all").methods]
    assert named == registry.names()
    added = {"name": "qr", "operation": "add", "as": "sum"}
    assert [entry.label for entry in suite(methods=["all", added]).methods] == [*named, "sum"]
    with pytest.raises(InputError):
        suite(methods="everything")


def test_settings_tell_the_rows_of_one_method_apart() -> None:
    added = {"name": "qr", "operation": "add"}
    assert labels("qr", added) == ["qr(operation=mult)", "qr(operation=add)"]
    assert labels({**added, "threshold": 0}, {**added, "threshold": 5}, "hash") == [
        "qr(threshold=0)",
        "qr(threshold=5)",
        "hash",
    ]


def test_a_setting_that_is_not_given_stays_out_of_the_label() -> None:
    assert labels("qr", {"name": "qr", "threshold": 5}) == ["qr", "qr(threshold=5)"]


def test_a_label_of_its_own_leaves_the_others_short() -> None:
    assert labels("qr", {"name": "qr", "operation": "add", "as": "sum"}) == ["qr", "sum"]


def test_the_same_runs_under_two_labels_are_refused() -> None:
    with pytest.raises(InputError, match="the same method with the same settings"):
        labels({"name": "qr", "as": "a"}, {"name": "qr", "as": "b"})


def test_only_budgeted_methods_need_budgets() -> None:
    assert suite(budgets=[]).budgets == ()
    with pytest.raises(InputError, match="'budgets' is missing, and 'qr' needs them"):
        suite(budgets=[], methods=["full", "qr"])


def test_seeds_are_a_list_or_a_count() -> None:
    assert suite(seeds=3).seeds == (0, 1, 2)
    assert suite(seeds=[3]).seeds == (3,)
    assert suite().seeds == (0,)


def test_labels_and_split_of_the_suite_are_the_default_of_its_data_sets() -> None:
    own = {"source": "parquet", "name": "own", "path": "b", "labels": ["z"], "split": "random"}
    made = suite(
        labels=["x", "y"],
        split={"kind": "temporal", "column": "t"},
        datasets=["synthetic", {"source": "parquet", "path": "a"}, own],
    )
    specs = [entry.spec for entry in made.datasets]
    assert [[label.name for label in spec.labels] for spec in specs] == [["x", "y"], ["x", "y"], ["z"]]
    assert [spec.split.kind for spec in specs] == ["temporal", "temporal", "random"]


def test_data_set_then_backbone_change_the_recipe() -> None:
    made = suite(
        train={"epochs": 9, "learning_rate": 0.1, "batch_size": 64},
        datasets=[
            {"source": "synthetic", "train": {"epochs": 2, "learning_rate": 0.2}},
            {"source": "synthetic", "name": "b"},
        ],
        backbones=["dnn", {"name": "fm", "train": {"learning_rate": 0.3}}],
    )
    (changed, plain), (dnn, fm) = made.datasets, made.backbones

    def recipe(dataset: Any, backbone: Any) -> tuple[int, float, int]:
        found = made.recipe(dataset, backbone)
        return found.epochs, found.learning_rate, found.batch_size

    assert recipe(plain, dnn) == (9, 0.1, 64)
    assert recipe(plain, fm) == (9, 0.3, 64)
    assert recipe(changed, dnn) == (2, 0.2, 64)
    assert recipe(changed, fm) == (2, 0.3, 64)


@pytest.mark.parametrize(
    "methods", [["qr"], [{"pipeline": [{"name": "qr", "as": "x"}]}], [{"pipeline": ["qr", "full"]}]]
)
def test_pipelines_are_checked_as_pipelines(methods: list[Any]) -> None:
    if methods == ["qr"]:
        assert suite(methods=methods).methods[0].label == "qr"
        return
    with pytest.raises(InputError):
        suite(methods=methods)


def test_a_suite_survives_json() -> None:
    made = suite(
        labels=["x"],
        datasets=[{"source": "criteo", "path": "c", "train": {"epochs": 2}}, "synthetic", "frappe_x1"],
        backbones=["dnn", {"name": "fm", "train": {"learning_rate": 0.3}}],
        methods=["full", {"name": "qr", "operation": "add", "as": "sum"}, "qr"],
        budgets=[0.5, "64MB"],
        seeds=2,
        executor={"name": "local", "jobs": 2, "timeout": 60},
        tracking={"enabled": False},
    )
    assert Suite.model_validate(made.model_dump(mode="json")) == made
    assert Suite.model_validate_json(made.model_dump_json()) == made


def test_a_suite_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        suite().seeds = (1,)  # type: ignore[misc]
