"""LPT: rounding by chance is right on average, the budget is spent, and the table is never in memory as floats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.shape import TableShape
from sharkbench.tables.bit_budget import CodedSize, coded_bytes, fit_bits
from sharkbench.tables.code_store import CodeStore, SeededGenerator
from sharkbench.tables.stochastic import encode_stochastic
from tests.methods.planted import bench_on, planted

CODECS = [RowCodec(dtype=dtype) for dtype in ("fp16", "int8", "int4", "int2")]


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return planted(12_000)


# Rounding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [*CODECS, RowCodec(dtype="int8", tail=2)], ids=str)
def test_rounding_by_chance_has_the_right_mean(codec: RowCodec) -> None:
    rows, draws = torch.randn(30, 7, generator=torch.Generator().manual_seed(0)), 2000
    generator = torch.Generator().manual_seed(1)
    stored = encode_stochastic(rows.repeat(draws, 1), codec, generator)
    drawn = codec.decode(stored, 7).view(draws, 30, 7).double()

    error = drawn.mean(0) - rows
    spread = drawn.std(0) / draws**0.5
    assert (error.abs() < 5 * spread + 1e-9).all()
    assert (drawn.std(0) > 0).all(), "a number that never moves loses its small updates"
    # Every number has a draw of its own.
    up = drawn[0] > rows
    assert not (up.all(1) | (~up).all(1)).all()


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_row_of_equal_numbers_stays_one(codec: RowCodec) -> None:
    rows = torch.full((50, 4), 0.1)
    drawn = codec.decode(encode_stochastic(rows, codec, torch.Generator().manual_seed(0)), 4)
    torch.testing.assert_close(drawn, rows, rtol=1e-3, atol=0)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_updates_below_half_a_step_survive_only_rounding_by_chance(codec: RowCodec) -> None:
    moved = {}
    for rounding in ("nearest", "stochastic"):
        store = CodeStore(500, 5, codec, rounding, SeededGenerator(0, "rounding"))
        store.fill(lambda n: torch.tensor([-1.0, 0.25, 0.5, 0.75, 1.0]).repeat(n, 1))
        rows = torch.arange(500)
        start = store.read(rows)
        for _ in range(40):
            values = store.read(rows)
            values[:, 1] += 1e-4
            store.write(rows, values)
        moved[rounding] = float((store.read(rows) - start)[:, 1].mean())

    assert moved["nearest"] == 0
    assert moved["stochastic"] > 0
    if codec.dtype in ("fp16", "int8"):
        assert moved["stochastic"] == pytest.approx(40e-4, rel=0.2)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_rows_start_with_the_spread_of_full_rows(codec: RowCodec) -> None:
    store = CodeStore(5000, 16, codec, "stochastic", SeededGenerator(0, "rounding"))
    store.fill(lambda n: torch.empty(n, 16).normal_(std=0.01))
    assert store.read(torch.arange(5000)).std().item() == pytest.approx(0.01, rel=0.1)


# Budgets --------------------------------------------------------------------------------------------------------------


@given(
    rows=st.integers(2000, 60_000),
    dimension=st.sampled_from([4, 10, 16, 64]),
    first_order=st.integers(0, 2),
    share=st.floats(0.05, 1),
)
@settings(max_examples=80, deadline=None)
def test_budgets_are_met_or_infeasible(rows: int, dimension: int, first_order: int, share: float) -> None:
    shape = TableShape(Schema((Field("a", rows),), ("click",)), dimension, first_order)
    budget = int(share * shape.fp32_bytes)
    try:
        sized: Any = registry.parse({"name": "lpt"}).size(budget, shape)
    except Infeasible:
        assert rows * RowCodec(dtype="int2", tail=first_order).row_bytes(shape.width) > budget
        return
    dtype = {16: "fp16", 8: "int8", 4: "int4", 2: "int2"}[sized.bits]
    size = RowCodec(dtype=dtype, tail=0 if sized.bits == 16 else first_order).row_bytes(shape.width)
    hot = round(sized.cache * rows)
    index = -(-rows // 64) * 12 + -(-rows // 65_536) * 16
    nbytes = (rows - hot) * size + hot * 4 * shape.width + (index if hot else 0)
    assert nbytes <= budget
    assert nbytes >= 0.97 * budget or budget - nbytes < 4 * shape.width + index


@given(
    rows=st.integers(1, 2000),
    bits=st.sampled_from([None, 16, 8, 4, 2]),
    budget=st.integers(1, 10_000),
    cache=st.sampled_from([None, 0.0, 0.3]),
)
@settings(max_examples=80, deadline=None)
def test_rows_of_one_number_may_be_larger_as_codes_and_no_budget_is_exceeded_for_it(
    rows: int, bits: int | None, budget: int, cache: float | None
) -> None:
    shape = TableShape(Schema((Field("a", rows),), ("click",)), 1)
    sizes = {b: CodedSize(RowCodec(dtype=f"int{b}").row_bytes(1) if b < 16 else 2) for b in (16, 8, 4, 2)}
    assert sizes[8].row > 4
    allowed = sizes if bits is None else {bits: sizes[bits]}
    try:
        found, hot = fit_bits(budget, shape, allowed, cache, what="lpt")
    except Infeasible as reason:
        said, least = str(reason), min(coded_bytes(shape, s, round((cache or 0) * rows)) for s in allowed.values())
        assert least > budget
        assert f" {least:,} bytes" in said
        return
    assert coded_bytes(shape, sizes[found], hot) <= budget
    assert 0 <= hot <= rows


@pytest.mark.parametrize("cache_by", ["frequency", "recency"])
@pytest.mark.parametrize(("backbone", "budget"), [("dnn", 0.9), ("dnn", 0.5), ("deepfm", 0.7)])
def test_packed_bytes_land_just_under_the_budget(
    cache_by: str, backbone: str, budget: float, dataset: PreparedDataset, tmp_path: Path
) -> None:
    bench = bench_on(dataset, tmp_path, backbone, budget=budget, epochs=1)
    packed = registry.parse({"name": "lpt", "cache_by": cache_by}).compress(bench).pack().layer

    assert packed.nbytes <= bench.budget
    # A cache by recency has whole sets of 32 slots, of which a few may still be empty.
    slack = 40 * 4 * bench.width if cache_by == "recency" else 4 * bench.width
    assert bench.budget - packed.nbytes < slack + 60


@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_bits_decide_the_bytes(bits: int, dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", epochs=1)
    method = registry.parse({"name": "lpt", "bits": bits, "cache": 0})
    assert not method.budgeted
    model = method.compress(bench)

    row = bench.width * 2 if bits == 16 else -(-bench.width * bits // 8) + 4
    table = model.embedding.state_dict()["parts.0.store.table"]
    assert model.pack().layer.nbytes == table.nbytes == bench.schema.num_rows * row


# Training -------------------------------------------------------------------------------------------------------------


def auc(bench: Workbench, **settings: object) -> float:
    model = registry.parse({"name": "lpt", "cache": 0, **settings}).compress(bench)
    return bench.evaluate(model)["click"]["auc"]


def test_eight_bits_learn_what_full_precision_learns(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", epochs=3, init_std=0.1, optimizer="lazy_adam")
    full = bench.evaluate(bench.full_model())["click"]["auc"]
    assert auc(bench, bits=8) > full - 0.01


@pytest.mark.parametrize("optimizer", ["adam", "rowwise_adagrad", "sgd"])
def test_every_optimizer_moves_the_codes(optimizer: str, dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", epochs=1, init_std=0.1, optimizer=optimizer, embedding_l2=1e-3)
    method = registry.parse({"name": "lpt", "bits": 8, "cache": 0.1, "cache_by": "recency"})
    trained = method.compress(bench).embedding.parts[0].store
    untouched = method.compress(bench_on(dataset, tmp_path, "dnn", epochs=1, init_std=0.1, learning_rate=1e-30))
    rows = torch.arange(len(trained))
    assert (trained.read(rows) - untouched.embedding.parts[0].store.read(rows)).abs().max() > 1e-3


def test_rows_of_first_order_weights_alone_have_16_bits(tmp_path: Path, dataset: PreparedDataset) -> None:
    bench = bench_on(dataset, tmp_path, "linear", budget=0.5, epochs=1)
    assert registry.parse({"name": "lpt"}).size(bench.room, bench.shape).bits == 16
    with pytest.raises(Infeasible, match="first-order weights alone"):
        registry.parse({"name": "lpt", "bits": 4}).size(bench.room, bench.shape)


# Memory ---------------------------------------------------------------------------------------------------------------

ROWS, WIDTH = 4_000_000, 16


def test_four_million_rows_take_their_codes_and_what_the_batches_touch() -> None:
    """Peak memory, too: a float copy of the table, however short, would show."""
    benchmark = Path(__file__).resolve().parents[2] / "benchmarks" / "lpt_memory.py"
    done = subprocess.run(
        [
            sys.executable,
            benchmark,
            "--rows",
            str(ROWS),
            "--steps",
            "3",
            "--only",
            "8",
            "--optimizer",
            "rowwise_adagrad",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    header, line = done.stdout.strip().splitlines()[-2:]
    told = dict(zip(header.split(","), line.split(","), strict=True))
    packed, fp32, batch = ROWS * (WIDTH + 4), ROWS * WIDTH * 4, 3 * 4096 * 8 * WIDTH * 4

    assert int(told["table_bytes"]) == packed
    assert packed <= 0.35 * fp32
    # The optimizer's accumulators, one per row, come on top.
    assert int(told["peak_bytes"]) < packed + ROWS * 4 + 4 * batch + 40e6 < fp32
    assert int(told["optimizer_bytes"]) == ROWS * 4
