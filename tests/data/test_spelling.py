"""Numbers, truth values and times in the one form that they are compared in."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sharkbench.data.lists import join_tokens, mended, tokens
from sharkbench.data.spelling import Spelling, as_float, plain, plain_numbers


@pytest.mark.parametrize(
    ("written", "means"),
    [
        *((one, "12") for one in ("12", "12.0", "12.", "+12", "1.2e1", "120E-1", "12.000")),
        *((one, "100000") for one in ("100000", "1e5", "1e+05", "1E5", "100000.0")),
        *((one, "0") for one in ("0", "-0", "-0.0", "0e7", "false", "False", "FALSE")),
        *((one, "1000000000000000000") for one in ("1e18", "1000000000000000000.0")),
        ("1.2345678901234567e+19", "12345678901234567168"),
        *((one, "46514739201848944") for one in ("46514739201848944", "4.651473920184894e+16")),
        ("true", "1"),
        *((one, "0.1") for one in ("0.1", ".1", "1e-1", "+.1", "0.10000000000000001")),
        ("1e-07", "0.0000001"),
        *((one, None) for one in ("nan", "NaN", "-NAN")),
        *((one, "inf") for one in ("inf", "+Infinity", "INF")),
        # what could mean something else than its value
        *((one, one) for one in ("007", "00", "-01", "007.0", "4.10", "0.50", "12e34567", "1e5f", "0x1f", "1_000")),
        *((one, one) for one in ("9007199254740993", "123456789012345678901234567890", "0.1234567890123456789")),
        ("2022-04-25T00:00:00", "2022-04-25"),
        ("2022-04-25 00:00", "2022-04-25"),
        ("2022-04-25T09:30", "2022-04-25 09:30:00"),
        ("2022-04-25 09:30:00.500000", "2022-04-25 09:30:00.5"),
        ("2022-04-25T09:30:00.000+02:00", "2022-04-25 07:30:00Z"),
        ("2022-04-25 09:30:00+00", "2022-04-25 09:30:00Z"),
        ("25.04.2022", "25.04.2022"),
    ],
)
def test_one_value_has_one_form(written: str, means: str | None) -> None:
    assert plain(written) == means


@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(st.floats(allow_nan=False))
def test_a_number_keeps_its_value_in_every_form(number: float) -> None:
    forms = {plain(form) for form in (repr(number), f"{number:.17g}", f"{number:.16e}")}
    [form] = forms
    assert form is not None
    assert as_float(form) == number or math.isinf(number)
    assert plain(form) == form


def kind_of(*chunks: list[str | None]) -> Spelling:
    spelling = Spelling()
    for chunk in chunks:
        spelling.look(pl.Series(chunk, dtype=pl.String))
    return spelling


@pytest.mark.parametrize(
    ("values", "kind", "becomes"),
    [
        (["12.0", "007", None, "nan"], "whole", ["12", "007", None, None]),
        (["1.5", "+2"], "decimal", ["1.5", "2"]),
        (["true", "0"], "whole", ["1", "0"]),
        (["12.0", "12e34567", "ab12cd34"], "text", ["12.0", "12e34567", "ab12cd34"]),
        (["2022-04-25T00:00:00", "2022-04-26"], "time", ["2022-04-25", "2022-04-26"]),
        (["2022-04-25T00:00:00", "7.0"], "text", ["2022-04-25T00:00:00", "7.0"]),
        (["true", "unknown"], "text", ["true", "unknown"]),
        ([None], "whole", [None]),
    ],
)
def test_all_values_of_a_column_decide_in_any_order(values: list[Any], kind: str, becomes: list[Any]) -> None:
    for chunks in ([values], [[value] for value in values], [[value] for value in reversed(values)]):
        spelling = kind_of(*chunks)
        assert spelling.kind == kind
        assert spelling.plain(pl.Series(values, dtype=pl.String)).to_list() == becomes
        assert spelling.mends == (values != becomes)


@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(st.lists(st.lists(st.text("ab,;\x1f\x1b01", min_size=1, max_size=5), max_size=4), min_size=1, max_size=6))
def test_joined_values_come_back(lists: list[list[str]]) -> None:
    cells = join_tokens(pl.Series([";".join(cell) for cell in lists]), ";", frozenset())
    expected = [[part for value in cell for part in value.split(";") if part] for cell in lists]
    assert [row or [] for row in tokens(cells).to_list()] == expected
    same = mended(cells, lambda values: values)
    assert same.to_list() == cells.to_list()


def test_values_of_cells_are_mended_one_by_one() -> None:
    cells = join_tokens(pl.Series(["7.0|nan|007", "nan", None, "+3"]), "|", frozenset())
    assert tokens(mended(cells, plain_numbers)).to_list() == [["7", "007"], None, None, ["3"]]
