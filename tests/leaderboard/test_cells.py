from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from sharkbench.leaderboard.cells import Cell, cells_of
from sharkbench.results.store import Store
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def cells(out: Path) -> list[Cell]:
    return cells_of(Store(out))


def test_a_cell_gathers_its_seeds(out: Path, add_run: AddRun) -> None:
    for seed, auc in enumerate((0.70, 0.72, 0.71)):
        add_run("hash", 0.25, seed, {"click": auc})
    add_run("hash", 0.1, 0, {"click": 0.6})

    large, small = cells(out)

    assert large.name == ("synthetic", "random", "dnn", "hash", "0.25", "click", "ctr")
    assert large.value_by_seed == {0: 0.70, 1: 0.72, 2: 0.71}
    assert large.mean("auc") == pytest.approx(0.71)
    assert large.value_std == pytest.approx(0.01)
    assert large.mean("logloss") == pytest.approx(0.29)
    assert (large.status, large.n_failed, small.value_std) == ("ok", 0, None)
    assert large.mean_cost(lambda cost: cost.seconds) == pytest.approx(9.0)


def test_every_label_is_a_cell_of_its_own(out: Path, add_run: AddRun) -> None:
    add_run(auc={"view": 0.6, "click": 0.7})

    assert [(cell.name.label, cell.mean("auc")) for cell in cells(out)] == [("view", 0.6), ("click", 0.7)]


def test_delta_pairs_seeds_with_the_full_precision_table(out: Path, add_run: AddRun) -> None:
    add_run("plain", None, 0, {"click": 0.70})
    add_run("plain", None, 1, {"click": 0.80})
    add_run("hash", 0.25, 1, {"click": 0.79})
    add_run("hash", 0.25, 2, {"click": 0.10})

    plain, hashed = cells(out)

    assert plain.is_reference
    assert not hashed.is_reference
    assert hashed.value_delta == pytest.approx(-0.01), "seed 2 has no partner and seed 0 no run"


def test_what_has_all_bytes_and_more_training_is_no_reference(out: Path, add_run: AddRun) -> None:
    add_run("plain", None, 0, {"click": 0.70})
    add_run("trained on", None, 0, {"click": 0.75})
    add_run("hash", 0.25, 0, {"click": 0.69})

    found = {cell.name.method: (cell.is_reference, cell.value_delta) for cell in cells(out)}

    assert found["plain"][0]
    assert found["trained on"] == (False, pytest.approx(0.05))
    assert found["hash"] == (False, pytest.approx(-0.01))


def test_delta_never_crosses_recipes(out: Path, add_run: AddRun) -> None:
    add_run("plain", None, 0, {"click": 0.70}, epochs=9)
    add_run("hash", 0.25, 0, {"click": 0.69})

    assert cells(out)[1].value_delta is None


def test_a_new_recipe_supersedes_the_old_runs(out: Path, add_run: AddRun) -> None:
    add_run("hash", 0.25, 0, {"click": 0.5}, epochs=1, started="2026-01-01")
    add_run("hash", 0.25, 1, {"click": 0.5}, epochs=1, started="2026-01-01")
    add_run("hash", 0.25, 0, {"click": 0.7}, epochs=2, started="2026-01-02")

    (cell,) = cells(out)

    assert cell.value_by_seed == {0: 0.7}
    assert len(cell.superseded) == 2


def test_failed_and_infeasible_cells_stay_with_their_reason(out: Path, add_run: AddRun) -> None:
    add_run("plain", None, 0, {"click": 0.7})
    add_run("hash", 0.25, 0, {"click": 0.6})
    add_run("hash", 0.25, 1, status="failed", kind="out of memory", reason="needed\n  9 GB")
    add_run("qr", 0.25, 0, status="infeasible", reason="needs at least 300 bytes")
    add_run("qr", 0.25, 1, status="infeasible", reason="needs at least 300 bytes")
    add_run("lsh", 0.25, 0, status="failed", kind="method", reason="broken")

    found = {cell.name.method: (cell.status, cell.reason, cell.n_failed) for cell in cells(out)}

    assert found == {
        "plain": ("ok", None, 0),
        "hash": ("partial", "out of memory: needed 9 GB", 1),
        "qr": ("infeasible", "needs at least 300 bytes", 2),
        "lsh": ("failed", "method: broken", 1),
    }
    assert {cell.name.label for cell in cells(out)} == {"click"}


def test_a_store_in_which_everything_failed_still_has_rows(out: Path, add_run: AddRun) -> None:
    add_run(status="failed", kind="data", reason="train.csv: row 3: 2 cells, 5 expected")

    (cell,) = cells(out)

    assert (cell.name.label, cell.status) == ("", "failed")


def test_order_is_reference_budget_quality(out: Path, add_run: AddRun) -> None:
    add_run("b", 0.1, 0, {"click": 0.6})
    add_run("failing", 0.1, 0, status="failed", kind="method", reason="x")
    add_run("a", 0.5, 0, {"click": 0.6})
    add_run("half", None, 0, {"click": 0.9}, bytes=500)
    add_run("c", 0.1, 0, {"click": 0.7})
    add_run("plain", None, 0, {"click": 0.8})

    assert [cell.name.method for cell in cells(out)] == ["plain", "half", "a", "c", "b", "failing"]


def test_an_auc_that_does_not_exist_is_left_out(out: Path, add_run: AddRun) -> None:
    add_run("hash", 0.25, 0, {"click": math.nan})
    add_run("hash", 0.25, 1, {"click": 0.7})

    (cell,) = cells(out)

    assert cell.value_by_seed == {1: 0.7}
    assert cell.mean("auc") == 0.7


def test_speeds_of_different_hardware_are_not_mixed(out: Path, add_run: AddRun) -> None:
    add_run("hash", 0.25, 0, {"click": 0.7}, speed=speed_of(2.0, hardware="one"))
    add_run("hash", 0.25, 1, {"click": 0.7}, speed=speed_of(4.0, hardware="another"))
    (cell,) = cells(out)

    assert cell.median_rate(lambda speed: speed.model_samples_per_second) is None
    assert cell.median_ratio(lambda speed: speed.lookups[1].ratio_fp32) == 3.0
