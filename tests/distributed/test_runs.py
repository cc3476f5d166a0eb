"""A run that trains over several processes: started by the runner, its result that of one process, its end clean."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from sharkbench.errors import InputError
from sharkbench.results.store import Store
from sharkbench.runner import run_suite
from sharkbench.runner.ranks import other_ranks
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec
from sharkbench.training.group import Group

SUITE = {
    "name": "small",
    "datasets": [{"source": "synthetic", "rows": 3000, "cardinalities": [200, 50, 10]}],
    "backbones": [{"name": "dnn", "hidden": [16], "dropout": 0.0, "batch_norm": False}],
    "dimension": 4,
    "methods": ["full", "hash"],
    "budgets": [0.3],
    "train": {"epochs": 2, "batch_size": 256, "optimizer": "lazy_adam", "accelerator": "cpu"},
    "measure": {"lookup": False},
    "tracking": {"enabled": False},
}


def planned(cache: Path, **train: Any) -> list[RunSpec]:
    return plan(load({**SUITE, "train": {**SUITE["train"], **train}}), cache_dir=cache)  # type: ignore[dict-item]


def test_a_run_over_two_processes_comes_to_what_one_comes_to(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    runs = [planned(cache)[0], planned(cache, processes=2, shard_tables=True)[0]]
    assert run_suite(load(SUITE), runs, tmp_path / "out", cache_dir=cache, jobs=1).failed == 0

    one, two = (Store(tmp_path / "out").get(run.key) for run in runs)
    assert one is not None
    assert two is not None
    assert two.quality["click"]["auc"] == pytest.approx(one.quality["click"]["auc"], abs=1e-5)
    assert two.quality["click"]["logloss"] == pytest.approx(one.quality["click"]["logloss"], abs=1e-5)
    assert (two.bytes, two.training.samples) == (one.bytes, one.training.samples)  # type: ignore[union-attr]


def test_at_their_defaults_the_settings_do_not_rename_a_run(tmp_path: Path) -> None:
    one, same, other = planned(tmp_path)[0], planned(tmp_path, processes=1)[0], planned(tmp_path, processes=2)[0]

    assert "processes" not in one.outcome["train"]
    assert one.key == same.key != other.key
    assert one.full_key != other.full_key


def test_a_process_that_dies_ends_the_run_and_is_named(tmp_path: Path) -> None:
    [run, _] = planned(tmp_path, processes=2)
    before = set(psutil.Process().children())

    def work() -> None:
        with other_ranks(run, shared=tmp_path / "shared", cache_dir=tmp_path):
            [other] = set(psutil.Process().children()) - before
            other.kill()
            for _ in range(100):
                Group.join(2).sum(torch.ones(1))

    with pytest.raises(RuntimeError, match="process 1 of the run has ended with -9"):
        work()
    assert set(psutil.Process().children()) == before
    assert not torch.distributed.is_initialized()


def test_a_process_that_cannot_start_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [run, _] = planned(tmp_path, processes=2)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with (
        pytest.raises(RuntimeError, match="process 1 of the run has ended with 1"),
        other_ranks(run, shared=tmp_path / "shared", cache_dir=tmp_path),
    ):
        pass


def test_a_run_of_one_process_starts_no_other(tmp_path: Path) -> None:
    before = psutil.Process().children()
    with other_ranks(planned(tmp_path)[0], shared=tmp_path, cache_dir=tmp_path):
        assert psutil.Process().children() == before
        with pytest.raises(InputError):
            Group.join(2)
