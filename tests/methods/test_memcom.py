"""memcom: a shared row times a number per id, exact about its bytes, starting as the hashing trick does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.tables.composed import ComposedTable
from sharkbench.training.optimizers import build_optimizer

WIDTH = 8


def schema_of(sizes: list[int]) -> Schema:
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))


@pytest.mark.parametrize("bias", [False, True])
def test_reads_what_the_paper_says(bias: bool) -> None:
    bench = tiny_bench("dcn", 0.5)
    method = registry.parse({"name": "memcom", "bias": bias}).config_for(bench.budget, bench.shape)
    table = method.compress(bench).embedding
    assert isinstance(table, ComposedTable)
    shared, numbers, *biases = (t.detach() for t in table.tables)
    assert numbers.abs().max() > 0, "the numbers per id have been trained"
    (field,) = table.made[:1]
    start, rows = int(bench.schema.offsets[field]), bench.schema.fields[field].cardinality
    m = table.functions[0][0].modulus
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
    schema, said = schema_of(sizes), {"name": "memcom", "bias": bias, "threshold": threshold}
    shape = TableShape(schema, WIDTH)
    budget = int(share * shape.fp32_bytes)
    try:
        method = registry.parse(said).config_for(budget, shape)
    except Infeasible:
        return
    total = 0
    for n, functions in zip(sizes, method._functions(schema, WIDTH, method.fraction), strict=True):  # type: ignore[attr-defined]
        total += 4 * (n * WIDTH if not functions else functions[0].modulus * WIDTH + (1 + bias) * n)
    assert total == method._nbytes(shape, method.fraction) <= budget  # type: ignore[attr-defined]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.4])
def test_lands_within_two_percent_under_the_budget(share: float, bias: bool) -> None:
    bench = tiny_bench("dcn", share)
    method = registry.parse({"name": "memcom", "bias": bias, "threshold": 0}).config_for(bench.budget, bench.shape)
    nbytes = method.compress(bench).pack().layer.nbytes
    assert bench.budget is not None
    assert 0.98 * bench.budget <= nbytes <= bench.budget
    assert nbytes == method._nbytes(bench.shape, method.fraction)  # type: ignore[attr-defined]


def test_starts_with_the_full_tables_deviation_as_the_hashing_trick_does() -> None:
    torch.manual_seed(0)
    schema = schema_of([20000])
    method = registry.parse("memcom").config_for(20000 * 16, TableShape(schema, 16))
    table = method._table(schema, 16, 0.01, sparse=False)  # type: ignore[attr-defined]
    rows = table.lookup(torch.arange(20000)[:, None])[:, 0]
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    m = table.functions[0][0].modulus
    assert torch.equal(rows[:m], rows[m : 2 * m])


@pytest.mark.parametrize(("bias", "floor"), [(False, 1 / WIDTH), (True, 2 / WIDTH)])
def test_the_numbers_per_id_bound_what_is_reached(bias: bool, floor: float) -> None:
    schema = schema_of([5000, 3000])
    method, shape = registry.parse({"name": "memcom", "bias": bias}), TableShape(schema, WIDTH)
    with pytest.raises(Infeasible, match="number per id"):
        method.config_for(int(floor * shape.fp32_bytes), shape)
    method.config_for(int((floor + 0.01) * shape.fp32_bytes), shape)


def test_the_numbers_per_id_learn_at_their_own_rate() -> None:
    bench = tiny_bench("dcn", 0.5)
    method = registry.parse({"name": "memcom", "multiplier_rate": 7.0}).config_for(bench.budget, bench.shape)
    model = method.compress(bench)
    groups = build_optimizer(model, bench.recipe).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    shared, numbers = model.embedding.tables
    assert rates[id(numbers)] == pytest.approx(7 * rates[id(shared)])
    assert {id(p) for p in model.embedding.parameters()} <= set(rates)
