"""Mixed dimensions: the power rule, budgets to the byte, and rows that are a short row times their field's matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.contract.sizing import small_field_rows
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import Infeasible, InputError
from sharkbench.formats.shape import TableShape
from sharkbench.tables.dimensions import field_bytes, largest_short, projected_bytes
from sharkbench.tables.projected import ProjectedRows
from tests.methods.bare_tables import SIZES, shape_of
from tests.methods.planted import bench_on, planted
from tests.tables.small_tables import table_of


def dimensions(budget: int, shape: TableShape, **settings: object) -> tuple[int, ...]:
    """What mde decides."""
    return registry.parse({"name": "mde", **settings}).size(budget, shape).dimensions  # type: ignore[attr-defined, no-any-return]


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    width=st.integers(1, 9),
    share=st.floats(0.01, 1),
    temperature=st.sampled_from([None, 0.0, 0.3, 2.0, 300.0, 1e9]),
)
def test_never_over_the_budget_and_exact_about_it(
    sizes: list[int], width: int, share: float, temperature: float | None
) -> None:
    shape = shape_of(sizes, width)
    budget = int(share * shape.fp32_bytes)
    try:
        sized = dimensions(budget, shape, temperature=temperature)
    except Infeasible:
        # Whole rows where a matrix costs more, one number per row elsewhere: no layer is smaller.
        assert sum(min(4 * n * width, 4 * (n + width)) for n in sizes) > budget
        return
    packed = table_of(ProjectedRows(shape.schema, range(len(sizes)), width, sized, 0.1)).pack()
    assert packed.nbytes == projected_bytes(sizes, sized, width) <= budget


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("temperature", [None, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_lands_within_two_percent_under_the_budget(share: float, temperature: float | None, first_order: int) -> None:
    shape = shape_of(SIZES, 16, first_order)
    budget = int(share * shape.fp32_bytes)
    sized = dimensions(budget, shape, temperature=temperature)
    assert 0.98 * budget <= projected_bytes(SIZES, sized, shape.width) <= budget


@given(rows=st.integers(1, 500), width=st.integers(1, 20), bias=st.booleans())
def test_short_rows_are_those_that_take_fewer_bytes(rows: int, width: int, bias: bool) -> None:
    whole = 4 * rows * width
    shorter = [d for d in range(1, width) if field_bytes(rows, d, width, bias) < whole]
    assert largest_short(rows, width, bias) == max(shorter, default=0)


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_dimensions_follow_the_power_of_popularity(temperature: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Callable[[float], list[float]]] = {}

    def spy(wanted: Callable[[float], list[float]], *rest: object, **more: object) -> tuple[int, ...]:
        asked["wanted"] = wanted
        return (1, 1, 1, 1)

    monkeypatch.setattr("sharkbench.tables.dimensions.sized_to_budget", spy)
    rows, reads = [10, 1000, 500, 4000], [4000, 1000, 2000, 1000]
    counts = np.concatenate([np.full(n, k // n if k >= n else 0) for n, k in zip(rows, reads, strict=True)])
    counts[-1000:] = 1
    fields = tuple(Field(f"f{n}", n) for n in rows)
    shape = TableShape(Schema(fields, ("click",), frequencies=counts), 16)
    dimensions(shape.fp32_bytes // 4, shape, temperature=temperature, threshold=10)
    popularity = [k / n / 400 for n, k in zip(rows, reads, strict=True)]  # the first field's is 400 reads a row
    for t in (0.2, 0.5, 0.9):
        found = asked["wanted"](t)
        if temperature is None:
            # One power for all: its exponent is what the second field says.
            exponent = np.log(found[1] / 16) / np.log(popularity[1])
            expected = [16.0, *(16 * p**exponent for p in popularity[1:])]
        else:
            # One factor for all that are not cut: it is what the rarest field says.
            base = found[-1] / popularity[-1] ** 0.3
            expected = [16.0, *(min(16.0, base * p**0.3) for p in popularity[1:])]
        assert found == pytest.approx(expected)
    assert asked["wanted"](1.0) == pytest.approx([16.0] * 4)
    assert max(asked["wanted"](0.0)[1:]) < 1


CRITEO = (
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652),
    *(2173, 4, 7046547, 18, 15, 286181, 105, 142572),
)
"""Values of the 26 categories of Criteo's Kaggle data, as DLRM counts them."""


def by_rule(
    base: float, exponent: float, popularity: list[float], rows: list[int], width: int, whole: int
) -> list[int]:
    """The paper's dimensions, with short rows only where they are smaller."""
    powers = [width if n <= whole else min(width, base * p**exponent) for n, p in zip(rows, popularity, strict=True)]
    rounded = [round(max(1.0, d)) for d in powers]
    return [d if d <= largest_short(n, width) else width for n, d in zip(rows, rounded, strict=True)]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.sampled_from(CRITEO) | st.integers(1, 10**8), min_size=1, max_size=26),
    width=st.integers(1, 24),
    share=st.floats(0.01, 1),
    temperature=st.floats(0, 3) | st.floats(0, 8) | st.none(),
)
@example(sizes=list(CRITEO), width=16, share=0.064, temperature=3.0)
@example(sizes=list(CRITEO), width=16, share=0.0627, temperature=1.5)
@example(sizes=[100, 101, 102], width=16, share=0.25, temperature=None)
def test_the_factor_is_the_largest_that_fits(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], width: int, share: float, temperature: float | None
) -> None:
    """Against every factor (or exponent) at which some field's rounded dimension changes, tried one by one."""
    monkeypatch.setattr("sharkbench.tables.dimensions.spend", lambda start, *_: start)
    shape = shape_of(sizes, width)
    popularity = [min(sizes) / n for n in sizes]
    budget = int(share * shape.fp32_bytes)
    whole = small_field_rows(shape, budget)

    def at(number: float) -> list[int]:
        base, exponent = (width, number) if temperature is None else (number, temperature)
        return by_rule(base, exponent, popularity, sizes, width, whole)

    steps = [k + 0.5 for k in range(1, width)]
    if temperature is None:
        changes = {math.log(k / width) / math.log(p) for p in popularity if p < 1 for k in steps}
    else:
        changes = {k / p**temperature for p in popularity for k in steps}
    # From the smallest dimensions to the largest.
    ordered = sorted(changes, reverse=temperature is None)
    sides = (1 + 1e-9, 1 - 1e-9) if temperature is None else (1 - 1e-9, 1 + 1e-9)
    tried = [at(change * side) for change in ordered for side in sides] or [at(1.0)]
    fitting = [projected_bytes(sizes, found, width) <= budget for found in tried]
    try:
        sized = dimensions(budget, shape, temperature=temperature)
    except Infeasible:
        assert not any(fitting)
        return
    assert projected_bytes(sizes, sized, width) <= budget
    if any(fitting):
        last = max(i for i, fits in enumerate(fitting) if fits)
        assert all(d >= least for d, least in zip(sized, tried[last], strict=True))
        if last + 1 < len(tried):
            assert all(d <= most for d, most in zip(sized, tried[last + 1], strict=True))


def test_popular_fields_have_longer_rows() -> None:
    shape = shape_of(SIZES)
    found = dimensions(shape.fp32_bytes // 4, shape)
    by_size = [d for _, d in sorted(zip(SIZES, found, strict=True))]
    assert by_size[0] == 16
    assert by_size[-1] < 4
    # What is left over may buy a field one number more than its rank among the fields gives it.
    assert all(larger <= smaller + 1 for smaller, larger in pairwise(by_size))


def test_fields_of_several_values_are_read_more_often() -> None:
    fields = (Field("one", 1000), Field("many", 1000, slots=4))
    counts = np.concatenate([np.full(1000, 1), np.full(1000, 4)])
    shape = TableShape(Schema(fields, ("click",), frequencies=counts), 16)
    one, many = dimensions(shape.fp32_bytes // 2, shape, threshold=0)
    assert many > one


def test_rows_are_short_rows_times_the_fields_matrix() -> None:
    torch.manual_seed(0)
    schema = Schema((Field("a", 30), Field("b", 20, slots=2), Field("c", 9), Field("d", 40)), ("click",))
    part = ProjectedRows(schema, range(4), 6, (2, 3, 6, 2), 0.1, bias=True)
    table = table_of(part)
    for bias in part.biases:
        torch.nn.init.normal_(bias)
    ids = torch.tensor([[3, 31, PADDING, 55, 60], [29, 40, 49, 50, 98]])
    (a, d), b, c = part.rows[0].split([30, 40]), part.rows[1], part.rows[2]
    of_a, of_d = (
        (lambda i: a[i] @ part.matrices[0][0] + part.biases[0][0]),
        lambda i: d[i] @ part.matrices[0][1] + part.biases[0][1],
    )

    def of_b(i: int) -> torch.Tensor:
        return b[i] @ part.matrices[1][0] + part.biases[1][0]

    expected = torch.stack(
        [
            torch.stack([of_a(3), of_b(1), c[5], of_d(1)]),
            torch.stack([of_a(29), (of_b(10) + of_b(19)) / 2, c[0], of_d(39)]),
        ]
    )
    torch.testing.assert_close(table(ids), expected)
    torch.testing.assert_close(table.pack()(ids), expected)


def test_fields_may_be_left_out() -> None:
    torch.manual_seed(0)
    schema = Schema((Field("a", 30), Field("b", 20, slots=2), Field("c", 9)), ("click",))
    part = ProjectedRows(schema, [1, 2], 4, (2, 4), 0.1)
    table = table_of(part)
    ids = torch.tensor([[3, 31, PADDING, 55]])
    assert table(ids).shape == (1, 2, 4)
    torch.testing.assert_close(table(ids), table.pack()(ids))
    torch.testing.assert_close(table(ids)[0, 1], part.rows[1][5])


@pytest.mark.parametrize("dimension", [1, 3, 16])
def test_rows_start_with_the_full_tables_deviation(dimension: int) -> None:
    torch.manual_seed(0)
    schema = shape_of([20000]).schema
    rows = table_of(ProjectedRows(schema, [0], 16, [dimension], 0.01)).lookup(torch.arange(20000)[:, None])
    assert rows.std().item() == pytest.approx(0.01, rel=0.05)
    assert rows.mean().abs().item() < 0.001


def test_sparse_gradients_hold_the_batchs_rows_only() -> None:
    part = ProjectedRows(shape_of([500, 40]).schema, [0, 1], 8, (2, 8), 0.1)
    table_of(part, sparse=True)(torch.tensor([[3, 510], [7, 510]])).sum().backward()
    assert part.rows[0].grad is not None
    assert part.rows[0].grad.coalesce().indices().tolist() == [[3, 7]]
    assert part.matrices[0].grad is not None


def test_dimensions_of_another_table_are_refused(tmp_path: Path) -> None:
    bench = bench_on(planted(1_000), tmp_path)
    with pytest.raises(InputError, match="8 fields"):
        registry.parse({"name": "mde", "dimensions": [2, 2]}).compress(bench)
