"""Measured against published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.published import Comparison, compare_with_published
from sharkbench.results.store import Store
from sharkbench.suite.references import Reference

AddRun = Callable[..., str]


def _reference(value: float, **changes: Any) -> Reference:
    return Reference.model_validate(
        {"dataset": "synthetic", "backbone": "dnn", "value": value, "source": "a paper", **changes}
    )


def _compare(out: Path, reference: Reference) -> Comparison:
    return compare_with_published(cells_of(Store(out)), [reference])[0]


@pytest.fixture
def measured(add_run: AddRun, out: Path) -> Path:
    for seed, auc in enumerate((0.800, 0.802, 0.804)):
        add_run("full", None, seed, {"click": auc})
        add_run("hash", 0.1, seed, {"click": auc - 0.1})
    return out


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.802, "reproduced"), (0.803, "reproduced"), (0.801, "reproduced"), (0.8031, "worse"), (0.8, "better")],
)
def test_a_mean_within_the_tolerance_reproduces(measured: Path, value: float, verdict: str) -> None:
    found = _compare(measured, _reference(value))
    assert (found.verdict, found.n) == (verdict, 3)
    assert found.deviation == pytest.approx(0.802 - value)


def test_log_loss_is_better_when_lower(measured: Path) -> None:
    assert _compare(measured, _reference(0.3, metric="logloss")).verdict == "better"


def test_budget_tolerance_and_label_pick_the_row(measured: Path) -> None:
    assert _compare(measured, _reference(0.702, method="hash", budget=0.1)).verdict == "reproduced"
    assert _compare(measured, _reference(0.75, tolerance=0.06, label="click")).verdict == "reproduced"
    for absent in ({"label": "like"}, {"method": "qr"}, {"dataset": "x"}, {"backbone": "fm"}, {"budget": 0.5}):
        assert _compare(measured, _reference(0.802, **absent)).verdict == "not measured"


def test_without_a_label_several_labels_leave_it_open(measured: Path, add_run: AddRun) -> None:
    add_run("full", None, 7, {"click": 0.8, "like": 0.9})
    assert _compare(measured, _reference(0.8)).verdict == "not measured"
    assert _compare(measured, _reference(0.9, label="like")).verdict == "reproduced"


@pytest.mark.parametrize("wrong", [{"source": ""}, {"tolerance": 0}, {"value": "high"}, {"colour": "red"}])
def test_a_reference_needs_a_source_and_a_tolerance(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _reference(**{"value": 0.8, **wrong})
