"""Tensor trains: rows are products of cores, start like a full table's and take the bytes said."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.tt_rec.rows import TensorTrainRows, root_mean_square, sampled, train_rows
from sharkbench.methods.tt_rec.shapes import TrainShape, column_factors, row_factors

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.errors import Infeasible, InputError
from sharkbench.formats.tensor_train import tensor_train_rows
from tests.methods.bare_tables import SIZES, shape_of
from tests.methods.untrained import initial
from tests.tables.small_tables import table_of


@given(rows=st.integers(1, 3_000_000), columns=st.integers(1, 48), cores=st.integers(2, 5))
@settings(deadline=None)
def test_factors_reach_all_rows_and_columns(rows: int, columns: int, cores: int) -> None:
    factors = row_factors(rows, cores)
    assert prod(factors) >= rows
    assert max(factors) ** cores < 2**cores * rows
    assert prod(column_factors(columns, cores)) == columns


def test_factors_are_near_equal() -> None:
    assert row_factors(1_000_000, 3) == (100, 100, 100)
    assert row_factors(25156, 3) == (30, 29, 29)
    assert sorted(column_factors(16, 3)) == [2, 2, 4]
    assert column_factors(18, 3) == (3, 2, 3)
    assert column_factors(2, 3) == (1, 1, 2)


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize(("rows", "batch"), [(60, 200), (5000, 300), (300_000, 200)])
def test_sparing_lookup_equals_the_plain_product_and_its_gradients(rows: int, batch: int, cores: int) -> None:
    torch.manual_seed(0)
    train = TrainShape.of(rows, 12, cores).with_rank(5)
    made = [core.requires_grad_() for core in sampled(train, 0.1)]
    ids = (torch.rand(batch) ** 3 * rows).long()
    plain, sparing = tensor_train_rows(ids, made), train_rows(ids, made)
    torch.testing.assert_close(sparing, plain, rtol=1e-4, atol=1e-6)
    weight = torch.randn(batch, 12)
    expected, found = (torch.autograd.grad(e, made, weight) for e in (plain, sparing))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


def test_rows_are_products_of_slices() -> None:
    torch.manual_seed(0)
    train = TrainShape((3, 4, 5), (2, 1, 3), (2, 3))
    cores = sampled(train, 1.0)
    for row in range(60):
        first, second, third = (core[i] for core, i in zip(cores, (row // 20, row // 5 % 4, row % 5), strict=True))
        expected = torch.einsum("xar,rbs,scy->abc", first, second, third).flatten()
        torch.testing.assert_close(train_rows(torch.tensor([row]), cores)[0], expected)


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize("rank", [1, 8])
def test_generated_rows_start_with_the_full_tables_deviation(rank: int, cores: int) -> None:
    torch.manual_seed(0)
    schema = shape_of([20000]).schema
    train = TrainShape.of(20000, 16, cores).with_rank(rank)
    part = TensorTrainRows(schema, [0], 16, [[train]], 0.01)
    rows = table_of(part)(torch.arange(20000)[:, None])
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    assert rows.mean().abs().item() < 0.002
    every_combination = train_rows(torch.arange(prod(train.rows)), list(part.cores))
    computed = root_mean_square([core.detach().double() for core in part.cores])
    assert every_combination.square().mean().sqrt().item() == pytest.approx(computed, rel=1e-4)


def test_entries_of_cores_stay_away_from_zero() -> None:
    torch.manual_seed(0)
    for core in sampled(TrainShape.of(5000, 16, 3).with_rank(6), 0.01):
        magnitudes = core.abs() / core.abs().min() * 2
        # Normal numbers of at least 2 have a mean square of 5.746.
        assert magnitudes.square().mean().item() == pytest.approx(5.746, rel=0.15)
        assert 0.4 < (core > 0).float().mean().item() < 0.6


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    dimension=st.integers(0, 9),
    first_order=st.integers(0, 2),
    share=st.floats(0.01, 1),
)
def test_never_over_the_budget_and_exact_about_it(
    sizes: list[int], dimension: int, first_order: int, share: float
) -> None:
    shape = shape_of(sizes, dimension, max(first_order, int(dimension == 0)))
    budget = int(share * shape.fp32_bytes)
    try:
        table = initial("tt_rec", shape, budget)
    except Infeasible:
        return
    packed = table.pack()
    assert packed.nbytes <= budget
    ids = torch.stack([torch.randint(n, (20,)) for n in sizes], 1) + torch.from_numpy(shape.schema.offsets[:-1])
    torch.testing.assert_close(packed(ids), table(ids), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize("first_order", [0, 1])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1, 0.05])
def test_lands_within_two_percent_under_the_budget(share: float, first_order: int, cores: int) -> None:
    shape = shape_of(SIZES, 16, first_order)
    budget = int(share * shape.fp32_bytes)
    assert 0.98 * budget <= initial({"name": "tt_rec", "cores": cores}, shape, budget).pack().nbytes <= budget


def test_small_fields_stay_whole() -> None:
    shape = shape_of(SIZES)
    ranks = registry.parse("tt_rec").size(shape.fp32_bytes // 4, shape).ranks  # type: ignore[attr-defined]
    assert [bool(own) for own in ranks] == [n > 200 for n in SIZES]


def test_a_rank_may_be_given_for_all() -> None:
    bench = tiny_bench("deepfm", None)
    model = registry.parse({"name": "tt_rec", "rank": 3}).compress(bench)
    trains, rows = model.embedding.members  # type: ignore[operator]
    assert (trains.fields, rows.fields) == ((0,), (1, 2, 3))
    assert [train.ranks for train in trains.trains[0]] == [(3, 3), (3, 3)]


def test_ranks_of_another_table_are_refused() -> None:
    with pytest.raises(InputError, match="the table has 4"):
        registry.parse({"name": "tt_rec", "ranks": [[]]}).compress(tiny_bench("dcn", None))
