"""ptq_greedy: the range that the search finds is the one that a plain loop finds, and never worse than min-max."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.ptq_greedy.ranges import greedy_range, squared_error

from sharkbench.contract import registry
from sharkbench.errors import Infeasible
from sharkbench.formats.codec import RowCodec
from sharkbench.tables.kept import rows_of
from tests.methods.made_up import made_up


def error_of(row: torch.Tensor, bits: int, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    offset = low.half().float()
    scale = ((high - offset).clamp(min=0) / (2**bits - 1)).half().float()
    total = torch.tensor(0.0, dtype=torch.float64)
    for number in row:
        code = ((number - offset) / (scale if scale > 0 else 1.0)).round().clamp(0, 2**bits - 1)
        total += (code * scale + offset - number).double() ** 2
    return total


def searched_by_hand(row: torch.Tensor, bits: int, bins: int, ratio: float) -> torch.Tensor:
    """The error of the best range, one row and one step at a time."""
    low, high = row.min(), row.max()
    step = (high - low) / bins
    best = error_of(row, bits, low, high)
    for _ in range(int(bins * ratio)):
        up, down = error_of(row, bits, low + step, high), error_of(row, bits, low, high - step)
        if up < down:
            low = low + step
        else:
            high = high - step
        best = min(best, up, down)
    return best


@pytest.mark.parametrize(("bits", "ratio"), [(8, 0.2), (4, 0.2), (2, 0.5), (1, 0.8)])
def test_finds_what_a_loop_over_rows_and_steps_finds(bits: int, ratio: float) -> None:
    rows = torch.randn(12, 8, generator=torch.Generator().manual_seed(bits))
    rows[3] = 0.7  # nothing to search
    rows[4, 0] = 20.0  # an outlier
    codec = RowCodec(dtype=f"int{bits}")  # type: ignore[arg-type]
    found = squared_error(rows, codec, *greedy_range(rows, codec, 40, ratio))
    expected = torch.stack([searched_by_hand(row, bits, 40, ratio) for row in rows])
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    bits=st.sampled_from([8, 4, 2, 1]),
    ratio=st.floats(0.01, 0.95),
    bins=st.integers(2, 60),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-6, 300),  # beyond, scale and offset do not fit fp16
    skew=st.floats(-100, 100),
)
def test_no_row_is_worse_than_with_its_minimum_and_maximum(
    bits: int, ratio: float, bins: int, seed: int, scale: float, skew: float
) -> None:
    rows = scale * (torch.randn(20, 7, generator=torch.Generator().manual_seed(seed)) ** 3 + skew)
    codec = RowCodec(dtype=f"int{bits}")  # type: ignore[arg-type]
    low, high = greedy_range(rows, codec, bins, ratio)
    kept = codec.decode(codec.encode(rows, low, high), 7)
    plain = codec.decode(codec.encode(rows), 7)
    assert ((kept - rows).square().sum(1) <= (plain - rows).square().sum(1) * (1 + 1e-5)).all()


def test_as_near_as_pytorchs_operator() -> None:
    rows = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
    packed = torch.ops.quantized.embedding_bag_4bit_prepack(rows, True, 200, 0.16)
    theirs = torch.ops.quantized.embedding_bag_4bit_unpack(packed)
    codec = RowCodec(dtype="int4")
    ours = codec.decode(codec.encode(rows, *greedy_range(rows, codec, 200, 0.16)), 16)
    plain = codec.decode(codec.encode(rows), 16)
    error, known, minmax = ((kept - rows).square().sum().item() for kept in (ours, theirs, plain))
    assert error <= known * 1.001
    assert error < 0.92 * minmax


@pytest.mark.parametrize(
    ("backbone", "budget", "bits", "row_bytes"),
    [
        ("dcn", 0.42, 8, 6 + 4),
        ("dcn", 0.41, 4, 3 + 4),
        ("dcn", 0.26, 2, 2 + 4),
        ("dcn", 0.22, 1, 1 + 4),
        ("deepfm", 0.44, 8, 6 + 4 + 4),
        ("deepfm", 0.29, 1, 1 + 4 + 4),
    ],
)
def test_takes_the_most_bits_that_fit(backbone: str, budget: float, bits: int, row_bytes: int) -> None:
    bench = made_up(backbone, budget)
    method = registry.parse("ptq_greedy")
    assert method.size(bench.room, bench.shape).bits == bits  # type: ignore[attr-defined]
    assert method.compress(bench).pack().layer.nbytes == row_bytes * bench.schema.num_rows


def test_says_what_it_cannot_reach() -> None:
    bench = made_up("deepfm", 0.28)
    with pytest.raises(Infeasible, match="1 bits per number"):
        registry.parse("ptq_greedy").size(bench.room, bench.shape)


def test_first_order_weights_stay_apart() -> None:
    bench = made_up("deepfm")
    assert bench.start is not None
    before = rows_of(bench.start.embedding)
    after = rows_of(registry.parse({"name": "ptq_greedy", "bits": 2}).compress(bench).embedding)
    assert torch.equal(after[:, bench.dimension :], before[:, bench.dimension :].half().float())
