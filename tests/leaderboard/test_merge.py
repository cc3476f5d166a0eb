"""Joining stores: nothing is lost, the better of two is kept, and disagreement is said."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sharkbench.errors import InputError
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.merge import merge
from sharkbench.results.archive import ARCHIVE, write_archive
from sharkbench.results.store import Store
from tests.leaderboard.handmade import ENVIRONMENT, add_run, speed_of


def test_runs_of_all_machines_come_together(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        key = add_run(Store(tmp_path / name), "full", None, seed, {"click": 0.75})
        (tmp_path / name / "runs" / key / "packed.safetensors").write_bytes(b"model")
    add_run(Store(tmp_path / "c"), "full", None, 2, {"click": 0.75})
    write_archive(Store(tmp_path / "c"), tmp_path / ARCHIVE)

    done = merge([tmp_path / "a", tmp_path / "b", tmp_path / ARCHIVE], tmp_path / "all")
    assert (done.added, done.replaced, done.kept, done.conflicts) == (3, 0, 0, [])
    (cell,) = cells_of(Store(tmp_path / "all"))
    assert sorted(cell.value_by_seed) == [0, 1, 2]
    models = [run for run in (tmp_path / "all" / "runs").iterdir() if (run / "packed.safetensors").is_file()]
    assert len(models) == 2

    again = merge([tmp_path / "a", tmp_path / "all"], tmp_path / "all")
    assert (again.added, again.replaced, again.kept) == (0, 0, 1)  # a store is not merged into itself


def test_ok_wins_over_failed_and_measured_over_not(tmp_path: Path) -> None:
    here, there = (partial(add_run, Store(tmp_path / name)) for name in ("here", "there"))
    for seed, (ok_here, speed_here, ok_there, speed_there) in enumerate(
        [(False, False, True, False), (True, False, True, True), (True, True, True, False), (True, False, False, False)]
    ):
        for add, ok, timed in ((here, ok_here, speed_here), (there, ok_there, speed_there)):
            speed = speed_of(2.0) if timed else None
            if ok:
                add("hash", 0.1, seed, {"click": 0.7}, speed=speed)
            else:
                add("hash", 0.1, seed, None, status="failed", reason="x")
    done = merge([tmp_path / "there"], tmp_path / "here")
    assert (done.added, done.replaced, done.kept) == (0, 2, 2)
    store = Store(tmp_path / "here")
    assert {result.status for result in store.results()} == {"ok"}
    assert [store.speed(result.key) is not None for result in store.results()].count(True) == 2


def test_different_results_of_one_run_are_told(tmp_path: Path) -> None:
    add_run(Store(tmp_path / "a"), "hash", 0.1, 0, {"click": 0.70, "like": 0.6})
    add_run(Store(tmp_path / "b"), "hash", 0.1, 0, {"click": 0.71, "like": 0.6})
    done = merge([tmp_path / "a"], tmp_path / "b")
    assert done.conflicts == ["synthetic, dnn, hash at 0.1, seed 0: AUC of click is 0.7100 here and 0.7000 there"]
    assert Store(tmp_path / "b").results()[0].quality["click"]["auc"] == 0.71


def test_results_that_differ_name_the_hardware_where_that_differs(tmp_path: Path) -> None:
    add_run(Store(tmp_path / "a"), "hash", 0.1, 0, {"click": 0.70})
    key = add_run(Store(tmp_path / "b"), "hash", 0.1, 0, {"click": 0.71})
    other = ENVIRONMENT.model_copy(update={"cpu": "another"})
    (tmp_path / "b" / "runs" / key / "environment.json").write_text(other.model_dump_json())

    (line,) = merge([tmp_path / "a"], tmp_path / "b").conflicts
    assert line.endswith(f"is 0.7100 here and 0.7000 there (another and {ENVIRONMENT.hardware})")


def test_links_are_not_followed(tmp_path: Path) -> None:
    key = add_run(Store(tmp_path / "a"), "full", None, 0, {"click": 0.75})
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a" / "runs" / key / "log.txt").symlink_to(tmp_path / "secret")
    merge([tmp_path / "a"], tmp_path / "b")
    assert not (tmp_path / "b" / "runs" / key / "log.txt").exists()


def test_a_source_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a directory with results"):
        merge([tmp_path / "nothing"], tmp_path / "all")
