"""SHARK is its two pieces in a row with one budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.errors import Infeasible
from tests.methods.planted import bench_on, planted

PIECES = {"f_permutation": {"epochs": 0}, "f_quantization": {"epochs": 0}}


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return planted(6000)


@pytest.fixture
def bench(dataset: PreparedDataset, tmp_path: Path) -> Workbench:
    return bench_on(dataset, tmp_path, "deepfm", budget=0.45, epochs=1)


def test_it_equals_the_pipeline_of_its_pieces(bench: Workbench) -> None:
    shark = registry.parse({"name": "shark", "share": 0.4, **PIECES}).compress(bench)
    stages = [
        {"name": "f_permutation", "epochs": 0, "budget": 0.45**0.4},
        {"name": "f_quantization", "epochs": 0},
    ]
    pipeline = registry.parse({"pipeline": stages}).compress(bench)

    assert shark.embedding.fields == pipeline.embedding.fields
    assert 1 < len(shark.embedding.fields) < 8
    ids = bench.dataset.splits["test"].ids
    assert torch.equal(shark.pack().layer(ids), pipeline.pack().layer(ids))


def test_one_budget_is_split(bench: Workbench) -> None:
    model = registry.parse({"name": "shark", **PIECES}).compress(bench)
    budget, path = bench.budget or 0, bench.ledger.notes["f_permutation/path"]
    assert 0.98 * budget < model.pack().layer.nbytes <= budget
    assert path[-1]["bytes_ratio"] <= 0.45**0.3
    rows = sum(row["rows"] for row in bench.ledger.notes["f_quantization/tiers"] if row["field"] == "(all)")
    assert rows * bench.width * 4 == path[-1]["bytes"]


def test_without_a_share_nothing_is_pruned(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "deepfm", budget=0.7, epochs=1)
    model = registry.parse({"name": "shark", "share": 0, **PIECES}).compress(bench)
    assert len(model.embedding.fields) == 8


def test_it_prunes_what_tiers_alone_cannot_reach(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "deepfm", budget=0.2, epochs=1)
    with pytest.raises(Infeasible, match="byte"):
        registry.parse("f_quantization").size(bench.room, bench.shape)
    shark = registry.parse({"name": "shark", "share": 0, **PIECES})
    assert shark.compress(bench).pack().layer.nbytes <= (bench.budget or 0)


@pytest.mark.parametrize("fields", range(1, 8))
def test_what_is_pruned_leaves_what_tiers_can_take(bench: Workbench, fields: int) -> None:
    """To the byte, the index of the tiers included: its last block is a whole one, however few rows are in it."""
    shark = registry.parse({"name": "shark", "share": 0, **PIECES})
    least = shark.f_quantization.smallest_bytes(bench.shape, 40 * fields)
    for budget, left in ((least, fields), (least - 1, fields - 1)):
        own = bench.for_stage("pruned", budget=budget, start=None)
        if left:
            model = shark.compress(own)
            assert len(model.embedding.fields) == left
            assert model.pack().layer.nbytes <= budget
        else:
            with pytest.raises(Infeasible, match="smallest field alone"):
                shark.size(budget, own.shape)


def test_the_best_of_several_splits_is_taken(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", budget=0.6, epochs=1)
    model = registry.parse({"name": "shark", "share": [0, 0.9], **PIECES}).compress(bench)
    tried = {row["share"]: row["auc"] for row in bench.ledger.notes["shares"]}
    assert len(tried) == 2
    assert bench.evaluate(model)["click"]["auc"] == pytest.approx(max(tried.values()))
    assert bench.ledger.notes["share 0.9/f_permutation/path"][-1]["fields"] < 8


def test_its_budget_decides_the_tiers() -> None:
    with pytest.raises(ValueError, match="no thresholds"):
        registry.parse({"name": "shark", "f_quantization": {"thresholds": [1.0, 2.0]}})
