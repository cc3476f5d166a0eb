"""magnitude: the largest numbers of the trained table stay, and fine-tuning never loses to leaving them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.contract.pipeline import Pipeline
from sharkbench.tables.kept import rows_of

from .planted import bench_on, planted


@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
def test_the_largest_numbers_stay_as_they_are(backbone: str) -> None:
    bench = tiny_bench(backbone, None)
    trained = rows_of(bench.full_model().embedding)
    model = registry.parse({"name": "magnitude", "kept": 1000, "retrain": "none"}).compress(bench)
    kept = rows_of(model.embedding)
    order = sorted(range(trained.numel()), key=lambda i: -abs(float(trained.flatten()[i])))
    chosen = torch.zeros(trained.numel(), dtype=torch.bool)
    chosen[order[:1000]] = True
    assert torch.equal(kept.flatten(), torch.where(chosen, trained.flatten(), 0))


def test_fine_tuning_never_loses_to_leaving_it(tmp_path: Path) -> None:
    aucs = {}
    for how in ("none", "continue", "initial"):
        bench = bench_on(planted(6_000), tmp_path, budget=0.25)
        method = registry.parse({"name": "magnitude", "retrain": how, "learning_rate_factor": 1.0})
        model = method.compress(bench)
        aucs[how] = bench.evaluate(model)["click"]["auc"]
        note = bench.ledger.notes["retraining"][0]
        assert note["auc_after"] == pytest.approx(aucs[how])
        assert note["auc_before"] == pytest.approx(aucs["none"])
    assert aucs["continue"] >= aucs["none"]
    assert len(set(aucs.values())) == 3


def test_it_is_sized_for_the_fields_that_an_earlier_stage_left(tmp_path: Path) -> None:
    bench = bench_on(planted(6_000), tmp_path, budget=0.2)
    stages = [
        {"method": registry.parse({"name": "largest_first", "epochs": 0}), "budget": 0.5},
        {"method": registry.parse({"name": "magnitude", "epochs": 0})},
    ]
    layer = Pipeline(pipeline=stages).compress(bench).pack().layer  # type: ignore[arg-type]
    assert bench.budget is not None
    assert 0.98 * bench.budget <= layer.nbytes <= bench.budget
