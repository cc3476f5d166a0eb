"""Priorities, tiers and rounding keep to their definitions; F-Quantization spends its budget and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.f_quantization.priorities import RowPriorities
from sharkbench.methods.f_quantization.rows import TieredRows, TrackPriorities
from sharkbench.methods.f_quantization.tiers import ERRORS, by_threshold, row_bytes, within_bytes

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_dataset
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Batch
from sharkbench.data.schema import PADDING
from sharkbench.errors import Infeasible
from sharkbench.formats.codec import RowCodec
from sharkbench.tables.parts import Table
from sharkbench.tables.stochastic import round_nearest, round_stochastic
from tests.methods.planted import bench_on, planted


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return planted(12_000)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


# Priorities -----------------------------------------------------------------------------------------------------------


@given(
    steps=st.lists(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=8), max_size=25),
    alpha=st.floats(0.5, 5),
    beta=st.sampled_from([0.0, 0.01, 0.3, 0.9]),
)
@settings(max_examples=60, deadline=None)
def test_lazy_decay_equals_step_by_step(steps: list[list[tuple[int, bool]]], alpha: float, beta: float) -> None:
    lazy, expected = RowPriorities(7, alpha, beta), np.zeros(7)
    for step in steps:
        counted = np.zeros(7)
        for row, positive in step:
            counted[row] += alpha if positive else 1.0
        expected = (1 - beta) * expected + (beta or 1.0) * counted
        rows = torch.tensor([row for row, _ in step], dtype=torch.int64)
        labels = torch.tensor([[float(positive)] for _, positive in step]).reshape(-1, 1)
        lazy.update(rows, torch.arange(len(step)), labels)
        np.testing.assert_allclose(lazy.current().numpy(), expected, rtol=1e-4, atol=1e-7)


def test_a_sample_counts_by_the_mean_of_its_labels() -> None:
    priorities = RowPriorities(2, alpha=3.0, beta=0.0)
    priorities.update(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert priorities.current().tolist() == [2.0, 1.0]


# Tiers ----------------------------------------------------------------------------------------------------------------

LISTS = [("int8", "fp16", "fp32"), ("dropped", "int4", "fp32"), ("int2", "int4", "int8", "bf16", "fp16", "fp32")]


@given(
    priorities=st.lists(st.floats(0, 1e6) | st.integers(0, 3).map(float), min_size=1, max_size=60),
    tiers=st.sampled_from(LISTS),
    share=st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_tiers_spend_the_bytes_on_the_highest_priorities(
    priorities: list[float], tiers: tuple[str, ...], share: float
) -> None:
    sizes, errors = row_bytes(tiers, 17, tail=1), [ERRORS[t] for t in tiers]  # type: ignore[arg-type, index]
    least, most = len(priorities) * min(sizes), len(priorities) * max(sizes)
    room = int(least + share * (most - least))
    p = torch.tensor(priorities)
    tier = within_bytes(p, sizes, errors, room).long()
    spent = torch.tensor(sizes)[tier]

    assert least <= int(spent.sum()) <= room
    # Nothing that would still fit is left unspent.
    dearest = max(b - a for a, b in zip(sorted(sizes), sorted(sizes)[1:], strict=False))
    assert room - int(spent.sum()) < dearest or int(spent.sum()) == most
    order = p.argsort(descending=True)
    assert (torch.tensor(errors)[tier][order].diff() >= 0).all() or len(set(priorities)) < len(priorities)


def test_tiers_beat_every_other_split_of_a_small_table() -> None:
    from itertools import product

    sizes, errors = [4, 8, 20], [0.1, 0.02, 0.0]
    p = torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.1])

    def cost(tier: torch.Tensor) -> float:
        return float((p * torch.tensor(errors)[tier]).sum())

    for room in (24, 40, 56, 68, 84, 100, 120):
        chosen = within_bytes(p, sizes, errors, room).long()
        possible = [torch.tensor(t) for t in product(range(3), repeat=6) if sum(sizes[i] for i in t) <= room]
        best = min(cost(t) for t in possible)
        # A greedy fill is at most one bargain away from the best.
        assert cost(chosen) <= best + 0.1 * 9.0 * 0.25


def test_too_few_bytes_for_the_smallest_tier_are_infeasible() -> None:
    with pytest.raises(Infeasible, match="at least 220 bytes, 219"):
        within_bytes(torch.ones(10), [22, 34], [0.1, 0.0], 219)


def test_thresholds_are_lower_bounds() -> None:
    assert by_threshold(torch.tensor([0.0, 1.0, 1.5, 2.0, 9.0]), (1.0, 2.0)).tolist() == [0, 1, 1, 2, 2]


# Rounding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec",
    [RowCodec(dtype="int8", tail=1), RowCodec(dtype="int4"), RowCodec(dtype="bf16"), RowCodec(dtype="fp16")],
    ids=str,
)
def test_rounding_by_chance_is_right_on_average_and_stays_on_the_grid(codec: RowCodec) -> None:
    rows = torch.randn(40, 9, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([round_stochastic(rows, codec, generator) for _ in range(400)])

    torch.testing.assert_close(drawn[0], round_nearest(drawn[0], codec), rtol=0, atol=1e-6)
    step = (drawn.amax(0) - drawn.amin(0)).amax()
    assert step > 0
    assert (drawn.mean(0) - rows).abs().max() < 0.2 * step
    # Every number has a draw of its own: rows do not move as one.
    up = drawn[0] > rows
    assert not (up.all(1) | (~up).all(1)).all()


def test_updates_below_half_a_step_survive_only_rounding_by_chance() -> None:
    codec, generator = RowCodec(dtype="int8"), torch.Generator().manual_seed(0)
    start = round_nearest(torch.linspace(-1, 1, 16).repeat(200, 1), codec)
    moved = start.clone()
    moved[:, 8] += 0.1 * 2 / 255

    assert torch.equal(round_nearest(moved, codec), start)
    shift = (round_stochastic(moved, codec, generator) - start)[:, 8].mean()
    assert 0.02 < float(shift) * 255 / 2 < 0.3


# The layer and the method ---------------------------------------------------------------------------------------------


def quantized(bench: Workbench, **settings: object) -> tuple[Table, TieredRows]:
    """The layer, and the part that is all of it."""
    method = registry.parse({"name": "f_quantization", **settings})
    table = method.compress(bench).embedding
    assert isinstance(table, Table)
    (rows,) = table.members
    assert isinstance(rows, TieredRows)
    return table, rows


@pytest.mark.parametrize("tiers", LISTS)
@pytest.mark.parametrize("backbone", ["deepfm", "dnn"])
def test_packed_bytes_land_just_under_the_budget(
    tiers: tuple[str, ...], backbone: str, dataset: PreparedDataset, tmp_path: Path
) -> None:
    bench = bench_on(planted(2000), tmp_path, backbone, budget=0.7, epochs=1)
    table, layer = quantized(bench, tiers=tiers, epochs=0)
    packed, budget = table.pack(), bench.budget or 0
    largest = max(row_bytes(layer.tiers, bench.width, bench.first_order))
    assert budget - largest <= packed.nbytes <= budget

    ids = dataset.splits["test"].ids
    torch.testing.assert_close(packed(ids), table.eval()(ids).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam"])
def test_training_serves_what_it_validated(optimizer: str, dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "deepfm", budget=0.6, optimizer=optimizer)
    method = registry.parse({"name": "f_quantization", "start": "scratch", "decide_every": 5})
    model = method.compress(bench)
    served = model.pack()
    split = dataset.splits["valid"]
    with torch.no_grad():
        torch.testing.assert_close(
            served(split.ids, split.dense), model.eval()(split.ids, split.dense), rtol=1e-4, atol=1e-5
        )
    best = max(epoch.valid["click"]["auc"] for epoch in bench.ledger.history)
    assert bench.evaluate(model)["click"]["auc"] == pytest.approx(best, abs=1e-4)
    assert served.layer.nbytes <= (bench.budget or 0)
    assert best > 0.6


def test_fine_tuning_recovers_and_never_ends_below_its_start(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared, "dnn", budget=0.45)
    method = {"name": "f_quantization", "tiers": ["int2", "int4", "int8", "fp16"]}
    rounded = registry.parse({**method, "epochs": 0}).compress(bench)
    tuned = registry.parse(method).compress(bench)
    assert bench.evaluate(tuned)["click"]["auc"] >= bench.evaluate(rounded)["click"]["auc"]


def test_touched_rows_are_on_the_grid_of_their_tier_after_a_step(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "deepfm", budget=0.6)
    table, layer = quantized(bench, epochs=0)
    table.train()
    ids = bench.dataset.splits["train"].ids[:8]
    with torch.no_grad():
        layer.weight.add_(0.01 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
    before = layer.weight.detach().clone()
    table(ids)
    table.after_step()

    touched = torch.zeros(len(before), dtype=torch.bool)
    touched[ids[ids != PADDING].long()] = True
    touched[bench.schema.offsets[2]] = True  # what an empty slot reads
    assert torch.equal(layer.weight[~touched], before[~touched])
    for t, codec in enumerate(layer.codecs):
        rows = layer.weight.detach()[touched & (layer.tier == t)]
        assert codec is not None
        torch.testing.assert_close(rows, round_nearest(rows, codec), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_touched_rows_are_rounded_as_stated(rounding: str, shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "deepfm", budget=0.6)
    table, layer = quantized(bench, epochs=0, rounding=rounding)
    table.train()
    ids = bench.dataset.splits["train"].ids
    with torch.no_grad():
        layer.weight.add_(0.01 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
    nearest = layer.weight.detach().clone()
    for t, codec in enumerate(layer.codecs):
        assert codec is not None
        nearest[layer.tier == t] = round_nearest(nearest[layer.tier == t], codec)
    table(ids)
    table.after_step()

    touched = torch.unique(ids[ids != PADDING].long())
    assert torch.equal(layer.weight[touched], nearest[touched]) == (rounding == "nearest")


def test_rows_that_are_read_more_get_more(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.6)
    _, layer = quantized(bench, epochs=0)
    counts = torch.from_numpy(bench.schema.frequencies)
    means = [counts[layer.tier == t].double().mean() for t in range(3) if (layer.tier == t).any()]
    assert means == sorted(means)

    notes = bench.ledger.notes["tiers"]
    names = ["(all)", *(field.name for field in bench.schema.fields)]
    assert [(row["field"], row["tier"]) for row in notes] == [(name, tier) for name in names for tier in layer.tiers]
    assert sum(row["rows"] for row in notes) == 2 * bench.schema.num_rows
    for name in names:
        own = [row for row in notes if row["field"] == name]
        assert sum(row["share_of_rows"] for row in own) == pytest.approx(1)
        assert sum(row["share_of_traffic"] for row in own) == pytest.approx(1)
    assert notes[2]["share_of_traffic"] == pytest.approx(float(counts[layer.tier == 2].sum() / counts.sum()))
    assert bench.ledger.notes["training state"][0]["priority_bytes"] >= 8 * bench.schema.num_rows


def test_positives_weigh_more(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.6)
    _, layer = quantized(bench, epochs=0, alpha=5.0, beta=0.0)
    split = bench.dataset.splits["train"]
    expected = torch.zeros(bench.schema.num_rows)
    weights = 5.0 * split.labels.mean(1) + 1 - split.labels.mean(1)
    for column in split.ids.T:
        present = column != PADDING
        expected.index_add_(0, column[present].long(), weights[present])
    torch.testing.assert_close(layer.priorities.current(), expected, rtol=1e-4, atol=1e-3)


def test_ablations_keep_the_sizes_of_the_tiers(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.6)
    layers = {how: quantized(bench, epochs=0, assign=how)[1] for how in ("priority", "random", "inverted")}
    counts = {how: torch.bincount(layer.tier.long(), minlength=3) for how, layer in layers.items()}
    assert torch.equal(counts["priority"], counts["random"])
    assert torch.equal(counts["priority"], counts["inverted"])
    reads = torch.from_numpy(bench.schema.frequencies).double()
    highest = {how: float(reads[layer.tier == 2].sum()) for how, layer in layers.items()}
    assert highest["priority"] > highest["random"] > highest["inverted"]


def test_given_thresholds_need_no_budget(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn")
    method = registry.parse(
        {"name": "f_quantization", "thresholds": [2.0, 50.0], "beta": 0.0, "alpha": 1.0, "epochs": 0}
    )
    (layer,) = method.compress(bench).embedding.members  # type: ignore[operator]
    assert not method.budgeted
    assert isinstance(layer, TieredRows)
    expected = np.digitize(bench.schema.frequencies, [2, 50])
    assert layer.tier.tolist() == expected.tolist()


def test_dropped_rows_serve_zeros(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.15)
    table, layer = quantized(bench, tiers=["dropped", "int4", "int8"], epochs=0)
    table.eval()
    dropped = (layer.tier == 0).nonzero()[:, 0]
    assert len(dropped)
    assert (layer.weight[dropped] == 0).all()


def test_priorities_follow_training(shared: Path) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.6)
    table, layer = quantized(bench, epochs=0)
    track = TrackPriorities(table, layer, every=100)
    before = layer.priorities.current().clone()
    split = bench.dataset.splits["train"]
    for _ in range(3):
        track.observe(Batch(split.ids[:4], split.dense[:4], split.labels[:4]))
    after = layer.priorities.current()
    read = torch.zeros(len(before), dtype=torch.bool)
    read[split.ids[:4][split.ids[:4] != PADDING].long()] = True
    assert (after[~read] <= before[~read]).all()
    assert int(layer.priorities.step) == 4 + 3


@pytest.mark.parametrize("start", ["trained", "scratch"])
def test_training_counts_every_batch_and_decides_tiers_at_the_stated_steps(
    start: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_on(tiny_dataset(), shared, "dnn", budget=0.6, epochs=2, batch_size=512)
    batches = -(-len(bench.dataset.splits["train"]) // 512)
    decided: list[int] = []
    decide = TieredRows.decide

    def watched(layer: TieredRows) -> None:
        decided.append(int(layer.priorities.step))
        decide(layer)

    monkeypatch.setattr(TieredRows, "decide", watched)
    quantized(bench, start=start, epochs=2, decide_every=3)

    # Once before training, after the pass that starts the priorities.
    assert decided == [batches, *range(batches + 3, 3 * batches + 1, 3)]
    assert len(decided) > 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tiers": ["int8", "int8"]}, "more than once"),
        ({"thresholds": [1.0]}, "need 2 thresholds"),
        ({"thresholds": [2.0, 1.0]}, "ascend"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry.parse({"name": "f_quantization", **settings})
