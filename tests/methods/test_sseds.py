"""SSEDS: scores are the gradient of the mask, columns are kept as far as bytes go, and rows hold those only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.sseds.columns import column_saliency, columns_within
from torch.nn import functional as F

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.samples import Split
from sharkbench.tables.dimensions import field_bytes, whole_if_no_larger
from sharkbench.tables.kept import rows_of

from .planted import NOISE, bench_on, planted


def test_scores_are_the_slope_of_each_batch_in_each_masked_column() -> None:
    bench = tiny_bench("deepfm", None)
    model = bench.full_model().double()
    valid = bench.dataset.splits["valid"]
    split = Split(valid.ids[:200], valid.dense[:200].double(), valid.labels[:200].double())
    found = column_saliency(model.train(), split, bench.task, batch_size=120)
    assert model.training, "the mode is left as it was"
    model.eval()
    expected = torch.zeros_like(found)
    with torch.no_grad():
        for start, size in ((0, 120), (120, 80)):
            part = slice(start, start + size)
            vectors = model.embedding(split.ids[part])
            for place in range(found.numel()):
                losses = []
                for step in (1e-5, -1e-5):
                    mask = torch.ones(found.shape, dtype=torch.float64)
                    mask.view(-1)[place] += step
                    logits = model.backbone(vectors * mask, split.dense[part])
                    losses.append(F.binary_cross_entropy_with_logits(logits, split.labels[part]))
                expected.view(-1)[place] += abs(losses[0] - losses[1]) / 2e-5 * size / 200
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-7)


@settings(deadline=None)
@given(
    rows=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    width=st.integers(2, 9),
    share=st.floats(0, 1.2),
    per_byte=st.booleans(),
    seed=st.integers(0, 99),
)
def test_columns_fill_the_budget_and_nothing_that_fits_is_left_out(
    rows: list[int], width: int, share: float, per_byte: bool, seed: int
) -> None:
    scores = torch.rand(len(rows), width, generator=torch.Generator().manual_seed(seed)).double()
    budget = int(share * sum(rows) * width * 4)
    kept = columns_within(scores, rows, budget, per_byte=per_byte)

    def cost(n: int, d: int) -> int:
        return field_bytes(n, d, width) if d else 0

    taken = sum(cost(n, len(own)) for n, own in zip(rows, kept, strict=True))
    assert taken <= budget
    for n, own, value in zip(rows, kept, scores, strict=True):
        assert own == sorted(set(own))
        if len(own) < width:
            larger = cost(n, whole_if_no_larger(n, len(own) + 1, width))
            assert taken - cost(n, len(own)) + larger > budget
            left_out = [value[j] for j in range(width) if j not in own]
            assert not own or min(value[own]) >= max(left_out), "the best of a field come first"


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1, 0.05])
def test_columns_land_within_two_percent_under_the_budget(share: float) -> None:
    rows = [24389, 6139, 5852, 5473, 1411, 445, 112, 50, 47, 16, 10, 3]
    budget = int(share * sum(rows) * 16 * 4)
    for seed in range(10):
        scores = torch.rand(len(rows), 16, generator=torch.Generator().manual_seed(seed)).double()
        kept = columns_within(scores, rows, budget)
        taken = sum(field_bytes(n, len(own), 16) for n, own in zip(rows, kept, strict=True) if own)
        assert 0.98 * budget <= taken <= budget


@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
@pytest.mark.parametrize("order", ["score", "score_per_byte"])
def test_kept_columns_are_those_of_the_trained_table_and_the_bytes_are_theirs(backbone: str, order: str) -> None:
    bench = tiny_bench(backbone, 0.3)
    trained = bench.full_model()
    model = registry.parse({"name": "sseds", "retrain": "none", "order": order}).compress(bench)
    note = {row["field"]: row for row in bench.ledger.notes["columns"]}
    assert sum(row["score"] for row in note.values()) == pytest.approx(1)
    expected = 0
    for f, field in enumerate(bench.schema.fields):
        columns = [int(c) for c in note[field.name]["columns"].split()]
        assert (f in model.embedding.fields) == bool(columns)
        if columns:
            expected += field_bytes(field.cardinality, len(columns), bench.width)
            before, after = rows_of(trained.embedding, [f]), rows_of(model.embedding, [f])
            assert torch.equal(after[:, columns], before[:, columns])
            assert after.count_nonzero() == before[:, columns].count_nonzero()
    packed = model.pack().layer
    assert packed.nbytes == expected <= (bench.budget or 0)


def test_retraining_starts_from_the_initial_columns(tmp_path: Path) -> None:
    bench = bench_on(planted(4_000), tmp_path, budget=0.3, init_std=0.01)
    # Too small a step to move anything visibly.
    still = replace(bench, recipe=bench.recipe.model_copy(update={"learning_rate": 1e-12}), start=bench.full_model())
    model = registry.parse("sseds").compress(still)
    initial = rows_of(bench.full_table()).split([f.cardinality for f in bench.schema.fields])
    for row, part in zip(bench.ledger.notes["columns"], initial, strict=True):
        columns = [int(c) for c in row["columns"].split()]
        f = int(row["field"][1:])
        if columns:
            assert torch.allclose(rows_of(model.embedding, [f])[:, columns], part[:, columns], atol=1e-7)


def test_noise_fields_lose_their_columns_first(tmp_path: Path) -> None:
    bench = bench_on(planted(), tmp_path, budget=0.5)
    model = registry.parse({"name": "sseds", "retrain": "none"}).compress(bench)
    dimensions = {row["field"]: row["dimension"] for row in bench.ledger.notes["columns"]}
    noise = sum(dimensions[name] for name in NOISE) / len(NOISE)
    signal = sum(d for name, d in dimensions.items() if name not in NOISE) / (len(dimensions) - len(NOISE))
    assert noise < signal / 2
    assert model.pack().layer.nbytes <= (bench.budget or 0)
