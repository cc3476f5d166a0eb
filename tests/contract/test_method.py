"""Sizing that all methods share: which small fields are kept whole, and what happens where that asks too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharkbench.contract import registry
from sharkbench.contract.sizing import small_field_rows
from sharkbench.errors import Infeasible
from tests.methods.bare_tables import shape_of

KEEP_SMALL_FIELDS = [name for name in registry.names() if "threshold" in registry.get(name).model_fields]


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=20), share=st.floats(0.01, 1), most=st.integers(1, 300))
def test_small_fields_take_at_most_half_of_the_budget_however_many_are_equal(
    sizes: list[int], share: float, most: int
) -> None:
    shape = shape_of(sizes, 4)
    budget = int(share * shape.fp32_bytes)

    def taken(threshold: int) -> int:
        return sum(4 * 4 * n for n in sizes if n <= threshold)

    found = small_field_rows(shape, budget, most)
    assert taken(found) <= budget / 2
    larger = [n for n in sizes if found < n <= most]
    assert not larger or taken(min(larger)) > budget / 2


@pytest.mark.parametrize("name", KEEP_SMALL_FIELDS)
@pytest.mark.parametrize("share", [0.09, 0.07, 0.045, 0.03, 0.02])
def test_no_budget_is_refused_that_can_be_met_without_whole_fields(name: str, share: float) -> None:
    shape = shape_of([944, 1683, 21, 3, 62, 19], 16, 2)
    budget = int(share * shape.fp32_bytes)
    try:
        registry.parse({"name": name, "threshold": 0}).size(budget, shape)
    except Infeasible:
        with pytest.raises(Infeasible, match="byte"):
            registry.parse(name).size(budget, shape)
    else:
        registry.parse(name).size(budget, shape)


def test_a_threshold_that_is_given_is_kept_to() -> None:
    shape = shape_of([944, 1683, 21, 3, 62, 19], 16)
    budget = int(0.07 * shape.fp32_bytes)
    assert registry.parse("memcom").size(budget, shape).threshold == 0  # type: ignore[attr-defined]
    with pytest.raises(Infeasible):
        registry.parse({"name": "memcom", "threshold": 62}).size(budget, shape)
