"""memcom: a shared row times a number per id, exact about its bytes, starting as the hashing trick does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.tables.composed import ComposedRows
from sharkbench.training.optimizers import build_optimizer
from tests.methods.untrained import initial

WIDTH = 8


def schema_of(sizes: list[int]) -> Schema:
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))


@pytest.mark.parametrize("bias", [False, True])
def test_reads_what_the_paper_says(bias: bool) -> None:
    bench = tiny_bench("dcn", 0.5)
    table: Any = registry.parse({"name": "memcom", "bias": bias}).compress(bench).embedding
    composed = table.parts[0]
    assert isinstance(composed, ComposedRows)
    shared, numbers, *biases = (t.detach() for t in composed.tables)
    assert numbers.abs().max() > 0, "the numbers per id have been trained"
    (field,) = composed.fields[:1]
    start, rows = int(bench.schema.offsets[field]), bench.schema.fields[field].cardinality
    m = composed.functions[0][0].modulus
    ids = torch.zeros(rows, bench.schema.num_slots, dtype=torch.int64) + torch.from_numpy(
        bench.schema.offsets[:-1][bench.schema.slot_fields]
    )
    ids[:, 0] = torch.arange(start, start + rows)
    served = table.pack()(ids)[:, field]
    for i in range(rows):
        expected = shared[i % m] * (1 + numbers[i]) + (biases[0][i] if bias else 0)
        assert torch.allclose(served[i], expected, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    share=st.floats(0.05, 1),
    bias=st.booleans(),
    threshold=st.sampled_from([None, 0, 50]),
)
def test_exact_about_its_bytes_and_never_over(
    sizes: list[int], share: float, bias: bool, threshold: int | None
) -> None:
    shape, method = TableShape(schema_of(sizes), WIDTH), {"name": "memcom", "bias": bias, "threshold": threshold}
    budget = int(share * shape.fp32_bytes)
    memcom: Any = registry.parse(method)
    try:
        size = memcom.size(budget, shape)
    except Infeasible:
        return
    table: Any = initial(method, shape, budget)
    total = 0
    for part in table.parts:
        shared = sum(f.modulus for f in part.functions[0]) if isinstance(part, ComposedRows) else part.num_rows
        own = (1 + bias) * part.num_rows if isinstance(part, ComposedRows) else 0
        total += 4 * (shared * WIDTH + own)
    assert total == table.pack().nbytes == memcom._nbytes(shape, size) <= budget


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.4])
def test_lands_within_two_percent_under_the_budget(share: float, bias: bool) -> None:
    bench = tiny_bench("dcn", share)
    method: Any = registry.parse({"name": "memcom", "bias": bias, "threshold": 0})
    nbytes = method.compress(bench).pack().layer.nbytes
    assert bench.budget is not None
    assert 0.98 * bench.budget <= nbytes <= bench.budget
    assert nbytes == method._nbytes(bench.shape, method.size(bench.budget, bench.shape))


def test_starts_with_the_full_tables_deviation_as_the_hashing_trick_does() -> None:
    table: Any = initial("memcom", TableShape(schema_of([20000]), 16), 20000 * 16, 0.01)
    rows = table.lookup(torch.arange(20000)[:, None])[:, 0]
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    m = table.parts[0].functions[0][0].modulus
    assert torch.equal(rows[:m], rows[m : 2 * m])


@pytest.mark.parametrize(("bias", "floor"), [(False, 1 / WIDTH), (True, 2 / WIDTH)])
def test_the_numbers_per_id_bound_what_is_reached(bias: bool, floor: float) -> None:
    schema = schema_of([5000, 3000])
    method, shape = registry.parse({"name": "memcom", "bias": bias}), TableShape(schema, WIDTH)
    with pytest.raises(Infeasible, match="number per id"):
        method.size(int(floor * shape.fp32_bytes), shape)
    method.size(int((floor + 0.01) * shape.fp32_bytes), shape)


def test_the_numbers_per_id_learn_at_their_own_rate() -> None:
    bench = tiny_bench("dcn", 0.5)
    model = registry.parse({"name": "memcom", "multiplier_rate": 7.0}).compress(bench)
    groups = build_optimizer(model, bench.recipe).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    shared, numbers = model.embedding.parts[0].tables
    assert rates[id(numbers)] == pytest.approx(7 * rates[id(shared)])
    assert {id(p) for p in model.embedding.parameters()} <= set(rates)
