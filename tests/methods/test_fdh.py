"""fdh: frequent ids own their rows, all others sum two hashed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.schema import Field, Schema
from sharkbench.formats.index import Hash
from sharkbench.formats.shape import TableShape
from sharkbench.tables.composed import ComposedRows
from sharkbench.tables.parts import Table
from tests.methods.untrained import initial


def schema_of(sizes: list[int], seed: int = 0) -> Schema:
    counts = np.random.default_rng(seed).zipf(1.5, sum(sizes))
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), ("click",), frequencies=counts)


def composed_in(table: Any) -> ComposedRows:
    composed = table.parts[0]
    assert isinstance(composed, ComposedRows)
    return composed


def made(schema: Schema, share: float, width: int = 16, *, frequent: float = 0.5) -> Table:
    """With ``share`` of the bytes, as it starts."""
    shape = TableShape(schema, width)
    return initial({"name": "fdh", "frequent": frequent}, shape, int(share * shape.fp32_bytes), 0.01)


def hashed(function: Hash, i: int) -> int:
    return ((((function.multiplier * i + function.increment) % 2**64) >> 32) * function.modulus) >> 32


@pytest.mark.parametrize("frequent", [0.0, 0.3, 1.0])
def test_reads_what_the_paper_says(frequent: float) -> None:
    bench = tiny_bench("dcn", 0.5)
    model = registry.parse({"name": "fdh", "frequent": frequent, "threshold": 5}).compress(bench)
    rows = composed_in(model.embedding)
    schema, packed = bench.schema, model.pack().layer
    assert schema.frequencies is not None
    ids = [i for f in rows.fields for i in range(schema.offsets[f], schema.offsets[f + 1])]
    order = sorted(ids, key=lambda i: -schema.frequencies[i])  # type: ignore[index]
    first, second = (t.detach() for t in rows.tables)
    owners = order[: len(first) - rows.moduli[0]]
    assert (len(owners) > 0) == (frequent > 0)
    rank = {row: rows.moduli[0] + k for k, row in enumerate(sorted(owners))}
    starts, lengths = schema.offsets, [0] * schema.num_fields
    for place, f in enumerate(rows.fields):
        lengths[f] = sum(g.modulus for g in rows.functions[0][:place])
    matrix = torch.from_numpy(starts[:-1][schema.slot_fields]).repeat(700, 1)
    for place, f in enumerate(rows.fields):
        column = int(np.flatnonzero(schema.slot_fields == f)[0])
        own, g = rows.functions[0][place], rows.functions[1][place]
        assert isinstance(own, Hash)
        assert isinstance(g, Hash)
        one = matrix.clone()
        n = schema.fields[f].cardinality
        one[:n, column] = torch.arange(int(starts[f]), int(starts[f]) + n)
        served = packed.lookup(one)[:n, column]
        for i in range(n):
            row = int(starts[f]) + i
            expected = (
                first[rank[row]]
                if row in rank
                else first[lengths[f] + hashed(own, i)] + second[lengths[f] + hashed(g, i)]
            )
            assert torch.equal(served[i], expected)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("frequent", [0.1, 0.5, 0.9])
def test_lands_within_two_percent_under_the_budget(share: float, frequent: float) -> None:
    schema = schema_of([25156, 6361, 5641, 6063, 300, 12, 3])
    packed = made(schema, share, frequent=frequent).pack()
    budget = int(share * schema.num_rows * 16 * 4)
    assert 0.98 * budget <= packed.nbytes <= budget


def test_bytes_are_rows_hash_constants_and_who_is_frequent() -> None:
    schema = schema_of([1000, 500])
    table = made(schema, 0.3, 4)
    composed = composed_in(table)
    rows = sum(composed.moduli) + len(composed.tables[0]) - composed.moduli[0]
    blocks = -(-1500 // 64)
    # Of a block: who is frequent in 64 rows, and two ranks; two more in all, as there are fewer than 65,536 rows.
    assert table.pack().nbytes == 4 * 4 * rows + 2 * 2 * 16 + blocks * (8 + 4) + 16


def test_both_kinds_of_rows_start_with_the_full_tables_deviation() -> None:
    schema = schema_of([20000])
    rows = made(schema, 0.5).lookup(torch.arange(20000)[:, None])[:, 0]
    assert schema.frequencies is not None
    frequent = torch.from_numpy(np.argsort(-schema.frequencies, kind="stable")[:2000].copy())
    mask = torch.zeros(20000, dtype=torch.bool).index_fill_(0, frequent, True)
    for part in (rows[mask], rows[~mask]):
        assert part.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_frequent_id_trains_its_own_row_and_no_other(sparse: bool) -> None:
    schema = schema_of([1000])
    table = made(schema, 0.5)
    table.use_sparse_gradients(sparse)
    rows = composed_in(table)
    assert schema.frequencies is not None
    top = torch.tensor([[int(np.argmax(schema.frequencies))]])
    table(top).sum().backward()
    first, second = (t.grad.to_dense() for t in rows.tables)  # type: ignore[union-attr]
    (touched,) = first.abs().sum(1).nonzero()
    assert touched >= rows.moduli[0]
    assert not second.any()
    if sparse:  # nor would an optimizer that goes by the rows in a gradient move another
        assert rows.tables[1].grad._indices().numel() == 0  # type: ignore[union-attr]


def test_the_row_that_frequent_ids_add_stays_zero() -> None:
    bench = tiny_bench("deepfm", 0.5)
    rows = composed_in(registry.parse("fdh").compress(bench).embedding)
    assert not rows.tables[1].detach()[-1].any()
    assert rows.tables[1].detach()[:-1].any()
