"""Budgets: what YAML may say, and what it means in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sharkbench.contract.budget import Budget

BUDGET = TypeAdapter(Budget)


@pytest.mark.parametrize(
    ("said", "nbytes", "shown"),
    [
        (0.25, 250, "0.25"),
        (1, 1000, "1"),
        ("64MB", 64_000_000, "64MB"),
        ("1.5 GiB", 3 * 2**29, "1610612736B"),
        ("512b", 512, "512B"),
        ("0.5kb", 500, "500B"),
    ],
)
def test_says_what_it_means(said: object, nbytes: int, shown: str) -> None:
    budget = BUDGET.validate_python(said)
    assert budget.nbytes(1000) == nbytes
    assert str(budget) == shown


@pytest.mark.parametrize(
    "said", [0, -0.1, 1.5, float("nan"), float("inf"), "64", "0.25", "MB", "-3MB", "0B", True, None, [0.5], {}]
)
def test_nonsense_is_refused(said: object) -> None:
    with pytest.raises(ValidationError):
        BUDGET.validate_python(said)


@given(st.one_of(st.floats(1e-9, 1), st.integers(1, 10**15).map(lambda n: f"{n}B")))
def test_survives_json(said: object) -> None:
    budget = BUDGET.validate_python(said)
    assert BUDGET.validate_json(BUDGET.dump_json(budget)) == budget
