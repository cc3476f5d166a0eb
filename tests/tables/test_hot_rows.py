"""Caches of hot rows against slow references: everything is found again, and the right rows leave."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables import hot_rows
from sharkbench.tables.code_store import CodeStore, SeededGenerator
from sharkbench.tables.hot_rows import FrequentRows, RecentRows, rounded_capacity, with_hot_rows

ROWS, WIDTH = 40, 4


def cold() -> CodeStore:
    store = CodeStore(ROWS, WIDTH, RowCodec(dtype="int8"), "nearest", SeededGenerator(0, "rounding"))
    store.fill(lambda n: torch.zeros(n, WIDTH))
    return store


def numbers(rows: list[int], step: int) -> torch.Tensor:
    """Numbers that 8 bits hold only roughly."""
    start = torch.tensor(rows, dtype=torch.float32)[:, None] + 100.0 * step
    return start + torch.tensor([0.0, 0.1234567, 0.7654321, 1.0])


steps_of_rows = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=12, unique=True), max_size=12)


@given(steps=steps_of_rows, hot=st.lists(st.integers(0, ROWS - 1), unique=True))
@settings(max_examples=60, deadline=None)
def test_frequent_rows_are_exact_and_all_others_coded(steps: list[list[int]], hot: list[int]) -> None:
    store, plain = FrequentRows(cold(), torch.tensor(sorted(hot), dtype=torch.int64)), cold()
    expected: dict[int, torch.Tensor] = {}
    for n, rows in enumerate(steps):
        values = numbers(rows, n)
        store.write(torch.tensor(rows, dtype=torch.int64), values)
        plain.write(torch.tensor(rows, dtype=torch.int64), values)
        expected.update({r: v for r, v in zip(rows, values, strict=True) if r in hot})
    read, coded = store.read(torch.arange(ROWS)), plain.read(torch.arange(ROWS))
    for row in range(ROWS):
        torch.testing.assert_close(read[row], expected.get(row, coded[row]), rtol=0, atol=0)


@given(steps=steps_of_rows, ways=st.sampled_from([1, 3, 4]), sets=st.sampled_from([1, 2, 5]))
@settings(max_examples=100, deadline=None)
def test_recent_rows_are_those_of_a_cache_by_hand(steps: list[list[int]], ways: int, sets: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_rows, "WAYS", ways)
        store = RecentRows(cold(), ways * sets)
    slots: list[dict[int, int]] = [{} for _ in range(sets)]  # of each set: row and the step that wrote it
    exact: dict[int, torch.Tensor] = {}
    for n, rows in enumerate(steps, start=1):
        ordered = sorted(rows)
        values = numbers(ordered, n)
        store.write(torch.tensor(ordered, dtype=torch.int64), values)
        written = dict(zip(ordered, values, strict=True))
        for row in ordered:
            if row in slots[row % sets]:
                slots[row % sets][row] = n
        for row in ordered:
            mine = slots[row % sets]
            if row in mine:
                continue
            if len(mine) == ways:
                oldest = min(mine.values())
                if oldest == n:
                    continue  # no place left in this step
                leaving = [r for r, used in mine.items() if used == oldest]
                # Rows of the same age leave in the order of their slots, which the reference does not keep.
                gone = next(r for r in leaving if int(store.find(torch.tensor([r]))) < 0)
                del mine[gone], exact[gone]
            mine[row] = n
        exact.update({r: v for r, v in written.items() if r in slots[r % sets]})
        inside = {r for part in slots for r in part}
        assert set(store.keys[store.keys >= 0].tolist()) == inside
    read = store.read(torch.arange(ROWS))
    for row, value in exact.items():
        torch.testing.assert_close(read[row], value, rtol=0, atol=0)
    for row in {r for rows in steps for r in rows} - exact.keys():
        last = max(n for n, rows in enumerate(steps, start=1) if row in rows)
        torch.testing.assert_close(read[row], numbers([row], last)[0], rtol=0, atol=0.5)


@pytest.mark.parametrize("by", ["frequency", "recency"])
@pytest.mark.parametrize("dtype", ["int8", "int2", "fp16"])
def test_each_row_is_served_once_as_it_was_trained(by: str, dtype: str) -> None:
    schema = Schema((Field("a", 30), Field("b", ROWS - 30)), ("click",))
    store = CodeStore(ROWS, WIDTH, RowCodec(dtype=dtype), "stochastic", SeededGenerator(0, "rounding"))
    store.fill(lambda n: torch.randn(n, WIDTH))
    hot = with_hot_rows(store, 7, by, torch.arange(ROWS).numpy())
    for n in range(5):
        rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(n))[:6].sort().values
        hot.write(rows, torch.randn(6, WIDTH))
    packed = hot.packed(schema, (0, 1))
    ids = torch.stack([torch.arange(30), torch.arange(30, 60) % 10 + 30], 1)
    served = PackedLayer(schema, WIDTH, [packed])(ids)

    torch.testing.assert_close(served, hot.read(ids.flatten()).view(30, 2, WIDTH), rtol=0, atol=0)
    row = RowCodec(dtype=dtype).row_bytes(WIDTH)
    # The index: 8 bytes for the tiers of 64 rows, two ranks of 2, two of 8.
    assert packed.nbytes == 33 * row + 7 * 4 * WIDTH + 28


def test_the_hottest_rows_are_the_most_frequent() -> None:
    hot = with_hot_rows(cold(), 3, "frequency", torch.tensor([5, 9, 9, 1] + [5] * 36).numpy())
    assert hot.keys.tolist() == [0, 1, 2]


def test_capacities_are_whole_sets() -> None:
    assert [rounded_capacity(n) for n in (1, 31, 32, 33, 100)] == [1, 31, 32, 32, 96]
