"""The lookup probe: what it times, and that it counts right. No time is asserted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sharkbench.backbones import BackboneShape, build
from sharkbench.backbones.ctr.dnn import DNN
from sharkbench.data.samples import Split
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import remainder
from sharkbench.formats.layer import PackedLayer
from sharkbench.measure.lookup import (
    BATCHES,
    TRIES,
    Probe,
    data_stream,
    hardware,
    in_turns,
    measure_speed,
    ratio,
    replicated_stream,
    spread,
    threads,
    uniform_stream,
)
from sharkbench.measure.spec import MeasureSpec
from sharkbench.model.model import PackedModel

SCHEMA = Schema((Field("a", 50), Field("tags", 9, slots=2), Field("gone", 7)), ("y",), ("d",))


def split(rows: int = 300) -> Split:
    rng = np.random.default_rng(0)
    low, high = SCHEMA.offsets[:-1][SCHEMA.slot_fields], SCHEMA.offsets[1:][SCHEMA.slot_fields]
    ids = rng.integers(low, high, (rows, SCHEMA.num_slots)).astype(np.int32)
    ids[::3, 2] = PADDING
    return Split(torch.from_numpy(ids), torch.zeros(rows, 1), torch.zeros(rows, 1))


def model() -> PackedModel:
    hashed = Composed.pack(SCHEMA, [0, 1], [[remainder(5), remainder(3)]], [torch.randn(8, 4)])
    return PackedModel(PackedLayer(SCHEMA, 4, [hashed]), build(DNN(hidden=(2,)), BackboneShape(2, 4, 1, 1)))


def test_everybody_has_a_turn_in_every_round() -> None:
    order: list[tuple[str, int]] = []
    taken = in_turns({n: lambda i, n=n: order.append((n, i)) for n in ("a", "b")}, 0, rounds=4)  # type: ignore[misc]
    assert {name: len(times) for name, times in taken.items()} == {"a": 4, "b": 4}
    assert {i for _, i in order} == set(range(BATCHES))
    turns = [
        name for name, previous in zip(order, [None, *order], strict=False) if not previous or previous[0] != name[0]
    ]
    assert [name for name, _ in turns[-8:]] == ["a", "b"] * 4


def test_ratios_and_spread_are_medians() -> None:
    assert ratio([[2], [4, 4, 99], [60]], [[1], [2], [3, 3, 0]]) == 2
    assert spread([[1], [2], [0, 3, 9], [4], [100]]) == (3, 2, 4)


def test_streams_stay_in_range() -> None:
    for batch in uniform_stream(SCHEMA, 64):
        PackedLayer(SCHEMA, 1, [Dense.pack(SCHEMA, [0, 1, 2], torch.zeros(66, 1))])(batch)
    data = data_stream(split().ids, 64)
    assert all(batch.shape == (64, 4) for batch in data)
    assert all(
        batch.shape == (500, 4) for batch in data_stream(split().ids, 500)
    )  # more than there are: from the start
    large = model().layer.replicate(4)
    moved = replicated_stream(data, SCHEMA, 4)
    for before, after in zip(data, moved, strict=True):
        assert torch.equal(before == PADDING, after == PADDING)
        large.lookup(after)
    assert moved[0].max() >= SCHEMA.num_rows


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


def test_rivals_serve_equal_tables_in_memory_of_their_own() -> None:
    probe = Probe(model().layer)
    ours = probe.fp32.formats[0].get_buffer("table")
    assert torch.equal(ours, probe.table)
    assert ours.data_ptr() != probe.table.data_ptr()  # only ours may move into huge pages
    ours.copy_(probe.table.copy_(torch.randn_like(probe.table)))
    ids = split().ids
    filled = ids != PADDING
    assert torch.equal(probe.torch_embedding(ids)[filled], probe.fp32.lookup(ids)[filled])


def test_a_run_is_timed_at_both_sizes_on_both_streams() -> None:
    speed = measure_speed(model(), split(), MeasureSpec(batch=32, production_rows=1000, seconds=0.05))
    assert [(t.name, t.stream, t.rows) for t in speed.lookups] == [
        ("own size", "data", 66),
        ("own size", "uniform", 66),
        ("production size", "data", 1056),
        ("production size", "uniform", 1056),
    ]
    for timing in speed.lookups:
        assert timing.batch == 32
        assert timing.threads == 1
        assert 0 < timing.per_second_low <= timing.per_second <= timing.per_second_high
        assert timing.ratio_torch > 0
        assert timing.ratio_fp32 > 0
    assert speed.model_samples_per_second > 0
    assert speed.model_ratio_fp32 > 0
    assert (speed.large_model_samples_per_second or 0) > 0
    assert (speed.large_model_ratio_fp32 or 0) > 0
    assert set(speed.kernels) >= {"dense", "composed"}
    only_own = measure_speed(model(), split(), MeasureSpec(batch=32, production_rows=0, seconds=0.05))
    assert [t.name for t in only_own.lookups] == ["own size"] * 2
    assert only_own.large_model_ratio_fp32 is None


def test_a_gpu_that_was_not_timed_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are timed where artifacts are loaded, on the CPU, also on a machine that has a GPU."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    speed = measure_speed(model(), split(), MeasureSpec(seconds=0.01, batch=16, production_rows=1))
    assert speed.hardware == hardware("cpu") != hardware("cuda") == "a GPU"
    assert "triton" not in speed.kernels.values()


@pytest.mark.parametrize(
    ("others", "kept", "tries"), [([3.0], 3.0, 1), ([300.0, 20.0], 20.0, 2), ([90.0, 40.0, 70.0], 40.0, TRIES)]
)
def test_a_busy_machine_is_tried_again_and_the_quietest_time_counts(
    others: list[float], kept: float, tries: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(others)
    monkeypatch.setattr("sharkbench.measure.lookup._other_cpu", lambda *_: next(left))
    speed = measure_speed(model(), split(), MeasureSpec(batch=16, production_rows=100, seconds=0.01))
    assert (speed.other_cpu_percent, speed.tries, speed.busy) == (kept, tries, kept > 25)
    assert [t.name for t in speed.lookups] == ["own size"] * 2 + ["production size"] * 2
    assert len(capsys.readouterr().out.splitlines()) == tries - 1
    assert list(left) == []
