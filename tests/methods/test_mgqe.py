"""mgqe: rows are their nearest codewords, rare rows choose among fewer, gradients go to queries and codewords."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.mgqe.rows import VectorQuantizedRows

from sharkbench.contract import registry
from sharkbench.contract.sizing import UNLIMITED
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.tables.codewords import most_read
from sharkbench.tables.kept import rows_of
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from tests.methods.made_up import schema_of
from tests.methods.untrained import initial
from tests.tables.small_tables import table_of

SMALL = schema_of((300, 40, 5))


def made(
    schema: Schema = SMALL,
    *,
    small: tuple[int, ...] = (2,),
    widths: tuple[int, ...] = (3, 3, 2),
    often: int = 60,
    bits: tuple[int, ...] = (2, 4),
    per_field: bool = False,
    init_std: float = 0.1,
    pull: float = 1.0,
) -> tuple[Table, VectorQuantizedRows]:
    """A table whose fields but the ``small`` ones are codewords, and those."""
    coded = tuple(f for f in range(schema.num_fields) if f not in small)
    torch.manual_seed(0)
    quantized = VectorQuantizedRows(
        schema,
        coded,
        widths=widths,
        tiers=most_read(schema, coded, often).long(),
        bits=bits,
        per_field=per_field,
        init_std=init_std,
        pull=pull,
        codeword_rate=1.0,
    )
    return table_of(quantized, Rows.initial(schema, small, sum(widths), init_std)), quantized


def served_by_hand(table: VectorQuantizedRows, row: int, field: int) -> tuple[list[int], torch.Tensor]:
    """Codes and vector of one row, one codeword at a time."""
    limit = 2 ** table.bits[int(table.tiers[row])]
    codes, vector, start = [], [], 0
    for width, book in zip(table.widths, table.books, strict=True):
        part = table.queries.detach()[row, start : start + width].double()
        first = field * table.codewords if table.per_field else 0
        distances = [float((part - book.detach()[first + k].double()).square().sum()) for k in range(limit)]
        codes.append(min(range(limit), key=distances.__getitem__))
        vector.append(book[first + codes[-1]])
        start += width
    return codes, torch.cat(vector)


@pytest.mark.parametrize("per_field", [False, True])
def test_rows_are_the_nearest_codewords_that_they_may_use(per_field: bool) -> None:
    table, rows = made(per_field=per_field)
    served, packed = rows_of(table.eval()), table.pack()
    part = packed.formats[0]
    codes = part._codes(torch.arange(340))  # type: ignore[attr-defined]
    for row in range(0, 340, 7):
        own, vector = served_by_hand(rows, row, int(row >= 300))
        assert codes[row].tolist() == own
        assert torch.equal(served[row], vector)
    rare = rows.tiers == 0
    assert int(rare.sum()) == 280
    assert codes[rare].max() == 3, "rare rows use the first four codewords, all of them"
    assert codes[~rare].max() > 3
    ids = torch.stack([torch.arange(40), 300 + torch.arange(40), 340 + torch.arange(40) % 5], 1)
    assert torch.equal(packed(ids), table(ids))


def test_the_most_read_rows_are_the_ones_with_all_codewords() -> None:
    assert SMALL.frequencies is not None
    chosen = most_read(SMALL, (0, 1), 60)
    counts = torch.from_numpy(SMALL.frequencies[:340])
    assert int(chosen.sum()) == 60
    assert counts[chosen].min() >= counts[~chosen].max()


def test_the_task_moves_queries_and_the_pull_moves_codewords() -> None:
    table, rows = made(pull=2.0)
    table.train()
    ids = torch.tensor([[3, 310, 341], [3, 320, 342], [9, 310, 343]])
    weights = torch.randn(3, 3, 8)
    (table(ids) * weights).sum().backward()
    expected = torch.zeros(340, 8)
    for sample, column in ((s, c) for s in range(3) for c in range(2)):
        expected[ids[sample, column]] += weights[sample, column]
    assert rows.queries.grad is not None
    torch.testing.assert_close(rows.queries.grad, expected)
    assert all(book.grad is None or not book.grad.any() for book in rows.books)
    rows.queries.grad = None
    loss = table.extra_loss()
    assert loss is not None
    assert table.extra_loss() is None
    looked_up = ids[:, :2].flatten()
    served = torch.stack([served_by_hand(rows, int(i), 0)[1] for i in looked_up])
    torch.testing.assert_close(loss, 2.0 * (served - rows.queries[looked_up]).square().mean())
    loss.backward()
    assert rows.queries.grad is None or not rows.queries.grad.any()
    used = {int(c) for i in looked_up for c in served_by_hand(rows, int(i), 0)[0][:1]}
    assert set(rows.books[0].grad.any(1).nonzero().flatten().tolist()) == used  # type: ignore[union-attr]


@pytest.mark.parametrize(("bits", "often"), [((6, 8), 500), ((1, 3), 100), ((1, 1), 0)])
def test_rows_start_with_the_full_tables_deviation(bits: tuple[int, int], often: int) -> None:
    schema = schema_of((5000,))
    table, _ = made(schema, small=(), widths=(4, 4, 4, 4), often=often, bits=bits, init_std=0.01)
    assert rows_of(table).std().item() == pytest.approx(0.01, rel=0.1)


def test_padding_pulls_at_no_codeword() -> None:
    schema = Schema((Field("a", 30, slots=4),), ("click",))
    table, _ = made(schema, small=(), widths=(2, 2), often=6)
    table.train()

    def pull(*ids: int) -> float:
        table(torch.tensor([ids]))
        loss = table.extra_loss()
        assert loss is not None
        return loss.item()

    alone = pull(7, PADDING, PADDING, PADDING)
    assert alone == pytest.approx(pull(7, 7, 7, 7))
    assert pull(7, 9, PADDING, 9) == pytest.approx((pull(7, 7, 7, 7) + 2 * pull(9, 9, 9, 9)) / 3)
    assert pull(PADDING, PADDING, PADDING, PADDING) == 0


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.2, 0.1, 0.05])
def test_some_rows_may_use_all_codewords_and_at_least_half_may_not(first_order: int, share: float) -> None:
    shape = TableShape(schema_of(), 16, first_order)
    method: Any = registry.parse("mgqe")
    size = method.size(int(share * shape.fp32_bytes), shape)
    assert 0.05 <= size.share <= 0.5
    few, many = method._tier_bits(size)
    assert few < many


@pytest.mark.parametrize("said", [{"share": 1.0}, {"share": 0.0}, {"fewer_bits": 0, "share": 0.3}])
def test_where_all_rows_are_alike_no_index_tells_them_apart(said: dict[str, float]) -> None:
    shape = TableShape(schema_of((5000,)), 16)
    method: Any = registry.parse({"name": "mgqe", "parts": 4, "bits": 4, "threshold": 0, **said})
    bits = 2 if said["share"] == 0 else 4
    assert method.nbytes(method.size(UNLIMITED, shape), shape) == 5000 * 4 * bits // 8 + 4 * 16 * 2**bits


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    dimension=st.integers(0, 7),
    first_order=st.integers(0, 2),
    share=st.floats(0.02, 1),
    books=st.sampled_from(["shared", "field"]),
)
def test_bytes_are_exact_and_never_over_the_budget(
    sizes: list[int], dimension: int, first_order: int, share: float, books: str
) -> None:
    if not dimension + first_order:
        return
    schema = schema_of(tuple(sizes))
    shape = TableShape(schema, dimension, first_order)
    budget = int(share * shape.fp32_bytes)
    method: Any = registry.parse({"name": "mgqe", "books": books})
    try:
        size = method.size(budget, shape)
    except Infeasible:
        return  # that the reason is said is another test's business
    assert initial(method, shape, budget).pack().nbytes == method.nbytes(size, shape) <= budget


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("share", [0.2, 0.1, 0.05])
def test_lands_within_two_percent_under_the_budget(first_order: int, share: float) -> None:
    shape = TableShape(schema_of(), 16, first_order)
    budget = int(share * shape.fp32_bytes)
    method: Any = registry.parse("mgqe")
    assert 0.98 * budget <= method.nbytes(method.size(budget, shape), shape) <= budget
