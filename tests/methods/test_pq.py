"""pq: codes name the nearest codewords, fields share or own them, bytes are exact, and fine-tuning keeps the codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.tables.kept import rows_of
from sharkbench.tables.small_fields import divide
from tests.methods.made_up import made_up, schema_of


@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
@pytest.mark.parametrize("books", ["field", "shared"])
def test_each_part_of_a_row_is_its_nearest_codeword(backbone: str, books: str) -> None:
    bench = made_up(backbone)
    assert bench.start is not None
    method: Any = registry.parse({"name": "pq", "parts": 2, "codewords": 5, "books": books, "threshold": 41})
    packed = method.compress(bench).pack().layer
    assert packed.nbytes == method.nbytes(method.size(bench.room, bench.shape), bench.shape)
    before = rows_of(bench.start.embedding)
    after = rows_of(method.compress(bench).embedding)
    whole, coded = divide(bench.schema, 41)
    assert (whole, coded) == ((2, 3), (0, 1))
    assert torch.equal(rows_of(bench.start.embedding, whole), after[790:])
    widths = [3, 3] + ([2] if bench.first_order else [])
    sizes = [700, 90] if books == "field" else [790]
    for old, new in zip(before[:790].split(sizes), after[:790].split(sizes), strict=True):
        for old_part, new_part in zip(old.split(widths, 1), new.split(widths, 1), strict=True):
            codewords = new_part.unique(dim=0)
            assert len(codewords) <= 5
            distances = torch.cdist(old_part.double(), codewords.double()).min(1).values
            assert torch.allclose((old_part - new_part).double().norm(dim=1), distances, atol=1e-4)


@pytest.mark.parametrize("books", [None, "field", "shared"])
@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.25, 0.1, 0.05])
def test_never_over_the_budget_and_near_it(books: str | None, first_order: int, share: float) -> None:
    shape = TableShape(schema_of(), 16, first_order)
    budget = int(share * shape.fp32_bytes)
    method: Any = registry.parse({"name": "pq", "books": books})
    size = method.size(budget, shape)
    nbytes = method.nbytes(size, shape)
    assert nbytes <= budget
    if (size.parts, size.codewords) == (16, 256):
        # The finest codes there are: what is left is less than another whole field takes.
        larger = [f.cardinality for f in shape.schema.fields if f.cardinality > size.threshold]
        assert not larger or budget - nbytes < min(larger) * shape.width * 4
    else:
        # Another byte of codes per row would not fit.
        assert budget - nbytes < max(shape.rows, 0.02 * budget)
    if share == 1.0:
        assert nbytes == shape.fp32_bytes


def test_a_field_whose_codewords_cost_more_than_its_rows_stays_whole() -> None:
    shape = TableShape(schema_of((5000, 70, 40)), 16)
    said = {"name": "pq", "parts": 4, "books": "field", "threshold": 0}
    size: Any = registry.parse(said).size(shape.fp32_bytes // 6, shape)
    assert size.codewords > 40
    saved = 64 - 4 * ((size.codewords - 1).bit_length()) / 8
    kept = {n for n in (5000, 70, 40) if n <= size.threshold}
    assert kept >= {n for n in (5000, 70, 40) if n * saved < 64 * size.codewords}
    assert 40 in kept
    assert 5000 not in kept


def test_codewords_are_shared_where_a_field_of_its_own_would_have_too_few() -> None:
    few, many = TableShape(schema_of((20000, 20000)), 16), TableShape(schema_of((300,) * 40), 16)
    books = [registry.parse("pq").size(shape.fp32_bytes // 20, shape).books for shape in (few, many)]  # type: ignore[attr-defined]
    assert books == ["field", "shared"]


def test_says_what_is_missing() -> None:
    with pytest.raises(Infeasible, match="bytes, the budget is 1,000"):
        registry.parse("pq").size(1000, TableShape(schema_of(), 16))


def test_fine_tuning_moves_codewords_and_serves_what_it_trained() -> None:
    bench = made_up("deepfm", 0.3)
    # A learning rate that moves something, from a model that was never trained: any validation beats its start.
    tuned = {"name": "pq", "epochs": 1, "learning_rate_factor": 1.0}
    frozen, moved = (rows_of(registry.parse(said).compress(bench).embedding) for said in ("pq", tuned))
    assert not torch.equal(frozen, moved)
    bench = made_up("deepfm", 0.3)
    model = registry.parse(tuned).compress(bench).eval()
    ids = bench.dataset.splits["valid"].ids
    assert torch.equal(model.pack().layer(ids), model.embedding(ids))
    # Codes stay: rows that shared all codewords still do.
    for f in range(2):
        old, new = (rows.split([700, 90, 41, 3])[f] for rows in (frozen, moved))
        assert len(new.unique(dim=0)) <= len(old.unique(dim=0))
