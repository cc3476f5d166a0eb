"""ptq_codebook: each number becomes the nearest of the few values that its group may take, and bytes are exact."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.data.schema import with_fields
from sharkbench.formats.shape import TableShape
from sharkbench.tables.codewords import most_read
from sharkbench.tables.kept import rows_of
from tests.methods.made_up import SIZES, made_up, schema_of


@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
@pytest.mark.parametrize("groups", ["field", "table"])
@pytest.mark.parametrize(("bits", "share"), [(1, 0.0), (3, 0.3), (2, 1.0), (5, 0.0)])
def test_groups_take_few_values_the_nearest_ones(backbone: str, groups: str, bits: int, share: float) -> None:
    bench = made_up(backbone)
    assert bench.start is not None
    said = {"name": "ptq_codebook", "bits": bits, "share": share, "groups": groups, "threshold": 3}
    method: Any = registry.parse(said)
    model = method.compress(bench)
    assert model.pack().layer.nbytes == method.nbytes(method.size(bench.room, bench.shape), bench.shape)
    before, after = rows_of(bench.start.embedding), rows_of(model.embedding)
    sizes = [field.cardinality for field in bench.schema.fields]
    assert torch.equal(after[-sizes[-1] :], before[-sizes[-1] :]), "the tiny field is whole"
    coded = sum(sizes[:-1])
    more = most_read(bench.schema, (0, 1, 2), int(share * coded))
    groups_of = sizes[:-1] if groups == "field" else [coded]
    parts = [rows[:coded, : bench.dimension].split(groups_of) for rows in (before, after)]
    for old, new, marked in zip(*parts, more.split(groups_of), strict=True):
        for mine, width in ((~marked, bits), (marked, bits + 1)):
            if mine.any():
                values = new[mine].unique()
                assert len(values) <= 2**width
                gaps = (old[mine].reshape(-1, 1) - values).abs().min(1).values
                assert torch.allclose((old[mine] - new[mine]).abs().flatten(), gaps, atol=1e-6)


def test_one_more_bit_halves_the_error_or_better() -> None:
    bench = made_up("dcn")
    assert bench.start is not None
    before, errors = rows_of(bench.start.embedding), []
    for bits in range(1, 8):
        model = registry.parse({"name": "ptq_codebook", "bits": bits}).compress(bench)
        errors.append(float((rows_of(model.embedding) - before).square().sum()))
    assert all(after < before / 2 for before, after in pairwise(errors))


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("share", [0.24, 0.2, 0.15, 0.1, 0.08])
def test_lands_within_two_percent_under_the_budget(first_order: int, share: float) -> None:
    shape = TableShape(schema_of(), 16, first_order)
    budget = int(share * shape.fp32_bytes)
    method: Any = registry.parse("ptq_codebook")
    assert 0.98 * budget <= method.nbytes(method.size(budget, shape), shape) <= budget


def test_a_large_budget_keeps_the_fields_whole_that_fit() -> None:
    shape = TableShape(schema_of(), 16)
    method: Any = registry.parse("ptq_codebook")
    half = method.size(shape.fp32_bytes // 2, shape)
    assert half.bits == 8
    assert half.threshold == SIZES[2]
    assert method.nbytes(method.size(shape.fp32_bytes, shape), shape) == shape.fp32_bytes


def test_works_on_the_fields_that_are_left() -> None:
    from sharkbench.tables.kept import keep_fields

    bench = made_up("dcn", 0.3)
    assert bench.start is not None
    assert bench.budget is not None
    bench.start.embedding = keep_fields(bench.start.embedding, (0, 2))
    shape = bench.shape
    assert shape.schema == with_fields(bench.schema, (0, 2))
    method: Any = registry.parse("ptq_codebook")
    size = method.size(bench.budget, shape)
    packed = method.compress(bench).pack().layer
    assert packed.fields == (0, 2)
    assert packed.nbytes == method.nbytes(size, shape) <= bench.budget
    assert size.bits
