"""hash and qr: every id finds its row, budgets are met as nearly as the tables allow, and rows start as they should."""

from __future__ import annotations

from math import ceil
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
from sharkbench.tables.rows import Rows
from sharkbench.training.optimizers import build_optimizer
from tests.methods.untrained import initial

SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=6)
METHODS = ["hash", {"name": "hash", "threshold": 0}] + [
    {"name": "qr", "operation": operation, "threshold": threshold}
    for operation in ("mult", "add", "concat")
    for threshold in (None, 0, 50)
]


def schema_of(sizes: list[int]) -> Schema:
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))


@pytest.mark.parametrize("said", METHODS, ids=str)
@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, width=st.integers(2, 9), share=st.floats(0.01, 1))
def test_never_over_the_budget_and_exact_about_it(said: object, sizes: list[int], width: int, share: float) -> None:
    schema = schema_of(sizes)
    budget = int(share * schema.num_rows * width * 4)
    try:
        packed = initial(said, TableShape(schema, width), budget).pack()
    except Infeasible:
        return  # that the reason is said is another test's business
    assert packed.nbytes <= budget
    every_id = torch.arange(schema.num_rows)
    for field, start in zip(schema.fields, schema.offsets.tolist(), strict=False):
        ids = torch.from_numpy(schema.offsets[:-1]).repeat(field.cardinality, 1)
        column = schema.fields.index(field)
        ids[:, column] = every_id[start : start + field.cardinality]
        assert torch.isfinite(packed(ids)).all()


@pytest.mark.parametrize("said", METHODS, ids=str)
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_lands_within_two_percent_under_the_budget(said: object, share: float) -> None:
    schema = schema_of([25156, 6361, 5641, 6063, 300, 12, 3])
    budget = int(share * schema.num_rows * 18 * 4)
    packed = initial(said, TableShape(schema, 18), budget).pack()
    assert 0.98 * budget <= packed.nbytes <= budget


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_qr_gives_every_id_its_own_pair_of_rows(operation: str) -> None:
    qr = registry.parse({"name": "qr", "operation": operation})
    for n in [300, 999, 1000, 4096]:
        for fraction in (0.05, 0.3, 0.9):
            m = qr._remainders(n, fraction)  # type: ignore[attr-defined]
            if m is not None:
                assert len({(i // m, i % m) for i in range(n)}) == n
                assert 1 <= m <= n, "no row of the remainder table is without an id"
                assert m + ceil(n / m) <= max(int(fraction * n * (2 if operation == "concat" else 1)), 2 * n**0.5 + 1)


def test_qr_reads_what_the_paper_says() -> None:
    schema = schema_of([50])
    table = initial({"name": "qr", "fraction": 0.4, "threshold": 0}, TableShape(schema, 4))
    (m,) = (f.modulus for f in table.parts[0].functions[0])
    remainders, quotients = table.parts[0].tables
    for i in range(50):
        expected = remainders[i % m] * (1 + quotients[i // m])
        assert torch.equal(table.lookup(torch.tensor([[i]]))[0, 0], expected)


@pytest.mark.parametrize("said", METHODS, ids=str)
def test_rows_start_with_the_full_tables_deviation(said: object) -> None:
    # Of several starts: a table of quotients may have so few rows that their spread is a matter of chance.
    shape, budget = TableShape(schema_of([20000]), 16), 20000 * 16 * 4 // 4
    tables = [initial(said, shape, budget, init_std=0.01, seed=seed) for seed in range(10)]
    rows = torch.cat([table.lookup(torch.arange(20000)[:, None]) for table in tables])
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    assert abs(rows.mean().item()) < 0.001


def test_small_fields_stay_whole_and_large_ones_get_what_is_left() -> None:
    schema = schema_of([5000, 200, 30, 201])
    width, whole = 4, 4 * 4
    hashed, rows = initial("hash", TableShape(schema, width), schema.num_rows * whole // 4).members
    assert (hashed.fields, rows.fields) == ((0, 3), (1, 2))
    assert isinstance(rows, Rows)
    # 230 rows of small fields would be more than half of 300: only the smaller one stays.
    size: Any = registry.parse("hash").size(300 * whole, TableShape(schema, width))
    assert size.threshold == 30


@pytest.mark.parametrize(("operation", "rate"), [("mult", 7.0), ("add", 1.0), ("concat", 1.0)])
def test_factors_learn_at_their_own_rate_and_added_rows_do_not(operation: str, rate: float) -> None:
    bench = tiny_bench("dcn", 0.5)
    said = registry.parse({"name": "qr", "operation": operation, "factor_rate": 7.0})
    model = said.compress(bench)
    groups = build_optimizer(model, bench.recipe).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    remainders, quotients = model.embedding.parts[0].tables
    assert rates[id(quotients)] == pytest.approx(rate * rates[id(remainders)])
