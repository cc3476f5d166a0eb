"""What a row may claim, read from stores with figures chosen by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.standings import Standing, standings_of
from sharkbench.results.store import Store
from sharkbench.tasks.ctr.blocks import auc_blocks
from tests.leaderboard.handmade import ENVIRONMENT, speed_of

AddRun = Callable[..., str]


def _standings(out: Path) -> dict[tuple[str, str], Standing]:
    found = standings_of(cells_of(Store(out)))
    return {(standing.cell.name.method, standing.cell.name.budget): standing for standing in found}


def texts(standing: Standing) -> tuple[str, ...]:
    return tuple(remark.text for remark in standing.remarks)


def _fill(add_run: AddRun, method: str, budget: float | None, aucs: list[float]) -> None:
    for seed, auc in enumerate(aucs):
        add_run(method, budget, seed, {"click": auc})


def test_differences_are_to_full_precision_seed_by_seed_and_corrected_within_a_budget(
    add_run: AddRun, out: Path
) -> None:
    full = [0.750, 0.760, 0.755, 0.748]
    _fill(add_run, "full", None, full)
    drops = {"a": [0.001, 0.002, 0.001, 0.0015], "b": [0.0, 0.003, -0.001, 0.002], "c": [0.01, 0.012, 0.011, 0.013]}
    for method, drop in drops.items():
        _fill(add_run, method, 0.25, [f - d for f, d in zip(full, drop, strict=True)])
    _fill(add_run, "a", 0.1, [f - 0.02 - d for f, d in zip(full, drops["a"], strict=True)])

    found = _standings(out)
    p_values = {m: stats.ttest_1samp([-d for d in drop], 0).pvalue for m, drop in drops.items()}
    for method, drop in drops.items():
        difference = found[method, "0.25"].difference
        assert difference is not None
        assert difference.interval is not None
        expected = stats.ttest_1samp([-d for d in drop], 0)
        assert difference.mean == pytest.approx(-np.mean(drop))
        assert difference.p == pytest.approx(expected.pvalue)
        assert difference.interval.low == pytest.approx(expected.confidence_interval().low)
    assert found["c", "0.25"].p_holm == pytest.approx(3 * p_values["c"])
    assert found["a", "0.25"].p_holm == pytest.approx(2 * p_values["a"])
    assert found["b", "0.25"].p_holm == pytest.approx(p_values["b"])
    alone = found["a", "0.1"]
    assert alone.difference is not None
    assert alone.p_holm == alone.difference.p  # a family of its own
    assert found["full", ""].difference is None

    assert {m: found[m, "0.25"].rank for m in drops} == {"a": 1, "b": 1, "c": 3}
    assert {m: found[m, "0.25"].shared for m in drops} == {"a": True, "b": True, "c": False}
    assert found["a", "0.1"].rank == 1
    assert (found["c", "0.25"].rivals, found["a", "0.1"].rivals, found["full", ""].rivals) == (3, 1, 0)


def test_fewer_than_three_seeds_get_no_interval_and_no_rank_and_are_told_so(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, [0.75, 0.76])
    _fill(add_run, "hash", 0.25, [0.74, 0.75])
    standing = _standings(out)["hash", "0.25"]
    assert standing.difference is not None
    assert (standing.difference.n, standing.difference.interval, standing.p_holm, standing.rank) == (
        2,
        None,
        None,
        None,
    )
    assert texts(standing) == ("fewer than 3 seeds: no interval, no rank",)


def test_methods_without_a_budget_spend_different_bytes_and_are_not_ranked(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, [0.75, 0.76, 0.77])
    for seed in range(3):
        add_run("int8", None, seed, {"click": 0.74}, bytes=300, bytes_ratio=0.3)
    standing = _standings(out)["int8", ""]
    assert standing.rank is None
    assert standing.p_holm is not None


def test_runs_of_another_recipe_are_not_paired(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, [0.75, 0.76, 0.77])
    for seed in range(3):
        add_run("hash", 0.25, seed, {"click": 0.7}, epochs=5)
    standing = _standings(out)["hash", "0.25"]
    assert standing.difference is None
    assert standing.rank == 1
    assert "fewer than 3 seeds in common with full precision: no interval" in texts(standing)


def test_other_code_other_data_and_other_hardware_are_flagged(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, [0.75, 0.76, 0.77])
    for seed in range(3):
        add_run("hash", 0.25, seed, {"click": 0.7}, data_fingerprint="0123456789abcdef" if seed else "f00d")
        key = add_run("qr", 0.25, seed, {"click": 0.7}, speed=speed_of(2.0, hardware=f"machine {seed}"))
        if seed == 0:
            other = ENVIRONMENT.model_copy(update={"git_revision": "fedcba9876543210", "git_dirty": True})
            (out / "runs" / key / "environment.json").write_text(other.model_dump_json())
    found = _standings(out)
    assert texts(found["full", ""]) == ()
    assert texts(found["hash", "0.25"]) == ("made from data 0123456789, most of this table from f00d",)
    assert texts(found["qr", "0.25"]) == (
        "made by revision fedcba9876+, most of this table by abc123",
        "speeds measured on different hardware: ratios only",
    )


def test_seeds_that_pair_with_other_hardware_are_counted(add_run: AddRun, out: Path) -> None:
    """The same seed trains another model on another processor, so the pair shares less than it should."""
    _fill(add_run, "full", None, [0.75, 0.76, 0.77])
    for seed in range(3):
        key = add_run("hash", 0.25, seed, {"click": 0.7})
        if seed:
            other = ENVIRONMENT.model_copy(update={"cpu": "another"})
            (out / "runs" / key / "environment.json").write_text(other.model_dump_json())
    found = _standings(out)
    assert texts(found["full", ""]) == ()
    assert texts(found["hash", "0.25"]) == (
        "2 of 3 seeds pair with full precision of other hardware or torch: such differences vary more",
    )


def test_failed_seeds_leave_a_cell_worst_where_fewer_than_three_are_left(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, [0.75, 0.76, 0.77, 0.78])
    for seed in range(4):
        auc = {"click": 0.7 + seed / 100}
        add_run("three left", 0.25, seed, auc if seed else None, status="ok" if seed else "failed", reason="x")
        add_run("two left", 0.25, seed, auc if seed > 1 else None, status="ok" if seed > 1 else "failed", reason="x")
        add_run("none", 0.25, seed, None, status="infeasible", reason="too small")
    found = _standings(out)
    assert [found[m, "0.25"].worst for m in ("three left", "two left", "none")] == [False, True, True]
    assert [found[m, "0.25"].rank for m in ("three left", "two left", "none")] == [1, None, None]
    assert "1 of 4 seeds failed" in texts(found["three left", "0.25"])


def test_what_the_test_rows_resolve_stands_beside(add_run: AddRun, out: Path) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(3000) < 0.3).astype(int)
    shared = labels + rng.normal(size=3000)
    for method, budget, noise in (("full", None, 0.0), ("near", 0.25, 0.01), ("far", 0.1, 1.0)):
        for seed in range(3):
            blocks = auc_blocks(shared + noise * rng.normal(size=3000), labels)
            auc = float(np.mean(blocks.samples["positives"]))
            add_run(method, budget, seed, {"click": auc}, parts={"click": {"auc": blocks}})
    found = _standings(out)
    near, far = found["near", "0.25"].resolution, found["far", "0.1"].resolution
    assert near is not None
    assert far is not None
    assert 0 < near < far < 0.05
    assert found["full", ""].resolution is None
