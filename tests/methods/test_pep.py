"""PEP: the soft threshold and its gradient, thresholds of every granularity, what moves them, and what is retrained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.pep.rows import Granularity, SoftThresholdRows, soft_threshold

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench, tiny_dataset
from sharkbench.contract.workbench import Workbench
from sharkbench.data.schema import PADDING
from sharkbench.model.model import Model
from sharkbench.tables.kept import rows_of
from sharkbench.tables.masked import MaskedRows
from tests.methods.planted import bench_on, planted
from tests.tables.small_tables import table_of

GRANULARITIES = get_args(Granularity)


def rows_like(granularity: Granularity, start: float = -3.0, l2: float = 0.0) -> SoftThresholdRows:
    torch.manual_seed(0)
    schema = tiny_dataset().schema
    weight = 0.1 * torch.randn(schema.num_rows, 5)
    fields = range(schema.num_fields)
    layer = SoftThresholdRows(schema, fields, weight, granularity, start=start, lr_factor=1.0, l2=l2)
    with torch.no_grad():
        layer.threshold += torch.randn(layer.threshold.shape)
    return layer


def small_bench(optimizer: str = "adam", **recipe: object) -> Workbench:
    bench = tiny_bench("deepfm", 0.25)
    changed = {**bench.recipe.model_dump(), "optimizer": optimizer, "init_std": 0.01, **recipe}
    return replace(bench, recipe=type(bench.recipe).model_validate(changed))


@settings(deadline=None)
@given(v=st.floats(-2, 2), s=st.floats(-6, 6))
def test_soft_threshold_and_its_gradient_are_the_formulas(v: float, s: float) -> None:
    sigma = 1 / (1 + math.exp(-s))
    weight, logit = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (v, s))
    out = soft_threshold(weight, logit)
    out.backward()
    passes = abs(v) > sigma
    sign = (v > 0) - (v < 0)
    assert out.item() == pytest.approx(sign * (abs(v) - sigma) if passes else 0.0)
    assert weight.grad is not None
    assert logit.grad is not None
    assert weight.grad.item() == (1.0 if passes else 0.0)
    assert logit.grad.item() == pytest.approx(-sign * sigma * (1 - sigma) if passes else 0.0)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_is_what_thresholding_the_whole_table_gives(granularity: Granularity, sparse: bool) -> None:
    layer, data = rows_like(granularity), tiny_dataset()
    schema, ids = data.schema, data.splits["train"].ids[:64]
    weight = layer.weight.detach().clone().requires_grad_()
    threshold = layer.threshold.detach().clone().requires_grad_()
    by_feature, by_field = granularity.startswith("feature"), granularity.startswith("field")
    rows = []
    for row in range(schema.num_rows):
        field = next(f for f in range(schema.num_fields) if row < schema.offsets[f + 1])
        own = threshold[row if by_feature else field if by_field else 0]
        rows.append(weight[row].sign() * (weight[row].abs() - own.sigmoid()).relu())
    table = torch.stack(rows)
    expected = []
    for field in range(schema.num_fields):
        own = ids[:, schema.slot_columns([field])].long()
        there = (own != PADDING).unsqueeze(-1)
        total = (table[own.clamp(min=0)] * there).sum(1)
        expected.append(total / there.sum(1).clamp(min=1) if schema.fields[field].pooling == "mean" else total)
    reference, found = torch.stack(expected, 1), table_of(layer, sparse=sparse)(ids)
    assert torch.allclose(found, reference, atol=1e-6)
    assert torch.allclose(layer.table(), table.detach(), atol=1e-6)
    assert 0.05 < (layer.margins() > 0).float().mean() < 0.95, "the example must have both"
    pull = torch.randn(found.shape)
    (found * pull).sum().backward()
    (reference * pull).sum().backward()
    assert weight.grad is not None
    assert threshold.grad is not None
    assert layer.weight.grad is not None
    assert layer.threshold.grad is not None
    assert torch.allclose(layer.weight.grad.to_dense(), weight.grad, atol=1e-5)
    assert not layer.threshold.grad.is_sparse
    assert torch.allclose(layer.threshold.grad, threshold.grad, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam"])
@pytest.mark.parametrize("l2", [0.0, 1e-5])
def test_far_below_zero_only_l2_moves_the_thresholds(optimizer: str, l2: float) -> None:
    bench = small_bench(optimizer)
    pep = registry.parse({"name": "pep", "threshold_start": -150, "threshold_l2": l2, "threshold_learning_rate": 0.5})
    layer = pep._rows(bench)  # type: ignore[attr-defined]
    bench.train(bench.model(bench.table(layer)), stage="search")
    steps = len(bench.dataset.splits["train"]) // bench.recipe.batch_size
    moved = layer.threshold + 150
    if not l2:
        assert not moved.any()
    else:
        # Adam turns a constant pull into full steps, of rows that no batch reads as well.
        assert torch.allclose(moved, torch.full_like(moved, 0.5 * steps), rtol=0.02)


def test_near_zero_the_loss_moves_thresholds_against_l2() -> None:
    bench = small_bench()
    pep = registry.parse({"name": "pep", "threshold_start": -4, "threshold_l2": 1e-6, "threshold_learning_rate": 0.01})
    layer = pep._rows(bench)  # type: ignore[attr-defined]
    bench.train(bench.model(bench.table(layer)), stage="search")
    read = torch.from_numpy(bench.schema.frequencies) > 0
    pulled = layer.threshold[~read]
    assert len(pulled)
    assert (pulled > -4).all(), "L2 alone lifts thresholds that no sample reads"
    assert (layer.threshold[read] < -4).any(), "the loss lowers thresholds of numbers that it wants larger"


def pruned(bench: Workbench, **said: object) -> tuple[Model, MaskedRows, int]:
    """The model, the part that is all of its layer, and how many numbers the budget keeps."""
    pep: Any = registry.parse({"name": "pep", **said})
    model = pep.compress(bench)
    (rows,) = model.embedding.members
    assert isinstance(rows, MaskedRows)
    return model, rows, pep.size(bench.room, bench.shape).kept


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_the_search_ends_where_the_budget_is_met(granularity: Granularity) -> None:
    bench = small_bench(batch_size=64)
    model, rows, kept = pruned(bench, granularity=granularity, retrain="none", look_every=1, search_epochs=4)
    path = bench.ledger.notes["search"]
    assert path[-1]["kept"] <= kept < path[-2]["kept"]
    assert rows.mask.sum() == kept
    # As the search leaves them: those just below their threshold are zero.
    assert (rows_of(model.embedding) != 0).sum() == path[-1]["kept"]


def test_a_search_that_ends_too_early_keeps_those_furthest_above_their_threshold() -> None:
    bench = small_bench()
    said = {"retrain": "none", "threshold_learning_rate": 1e-6, "search_epochs": 1}
    _, rows, kept = pruned(bench, **said)
    again = registry.parse({"name": "pep", **said})._rows(small_bench())  # type: ignore[attr-defined]
    bench.train(bench.model(bench.table(again)), stage="search", epochs=1)
    assert rows.mask.sum() == kept
    margins = again.margins()
    assert margins[rows.mask].min() >= margins[~rows.mask].max()


def test_retraining_starts_from_the_initial_table_on_the_mask_that_the_search_found() -> None:
    said = {"threshold_learning_rate": 0.5, "look_every": 1}
    bench = small_bench()
    searched, rows, _ = pruned(bench, retrain="none", **said)
    learned, mask = rows_of(searched.embedding), rows.mask

    class Still(Workbench):
        """Trains searches; leaves what is to be retrained as it is."""

        def train(self, model, *, stage="train", **rest):  # type: ignore[no-untyped-def]
            return super().train(model, stage=stage, **rest) if stage == "search" else None

    frozen = Still(**vars(small_bench()))
    model, own, _ = pruned(frozen, retrain="initial", **said)
    assert torch.equal(own.mask, mask)
    assert torch.equal(rows_of(model.embedding), rows_of(frozen.full_table()) * mask)
    assert not torch.equal(rows_of(model.embedding), learned)
    for fresh, own in zip(
        frozen.model(frozen.full_table()).backbone.parameters(), model.backbone.parameters(), strict=True
    ):
        assert torch.equal(fresh, own)
    note = frozen.ledger.notes["retraining"][0]
    assert note["retrain"] == "initial"
    assert note["auc_before"] != note["auc_after"]


@pytest.mark.parametrize("init_std", [1e-4, 0.01])
def test_numbers_learn_before_they_are_pruned_however_small_they_start(init_std: float, tmp_path: Path) -> None:
    bench = bench_on(planted(12_000), tmp_path, budget=0.25, init_std=init_std)
    start = registry.parse("pep")._rows(bench)  # type: ignore[attr-defined]
    assert (start.margins() > 0).float().mean() > 0.9
    _, rows, _ = pruned(bench)
    assert len(bench.ledger.notes["search"]) > 1
    mask = rows.mask.flatten()
    largest = start.weight.detach().abs().flatten().topk(int(mask.sum())).indices
    assert mask[largest].float().mean() < 0.5, "the mask is what training wants, not where chance put large numbers"
