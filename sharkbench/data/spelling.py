"""Plain forms of values: equal numbers, booleans and times get equal text.

All values of a column together decide whether it holds numbers, times or text, so that every file and chunk is read
alike. A column of text is left unchanged: ``12e34567`` among hexadecimal digits is not a number.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import polars as pl

Kind = Literal["whole", "decimal", "time", "text"]

_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
"""Integers in plain form."""
_DECIMAL = r"^-?(?:0|[1-9][0-9]{0,7})\.[0-9]{0,6}[1-9]$"
"""Decimals in plain form, in the range where a float has one spelling per number."""
_FLOAT = r"^\+?(-?(?:0|[1-9][0-9]*))(?:\.0*)?$"
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAN = re.compile(r"[+-]?nan", re.IGNORECASE)
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE)
_WORDS = "|".join((*_TRUE, *_FALSE, "[+-]?(?i:nan)", "[+-]?(?i:inf(?:inity)?)"))
_NUMERIC = f"^(?:{_NUMBER.pattern}|{_WORDS})$"
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]+)?)?{_ZONE}?)?$"
_PLAIN_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?: [0-9]{2}:[0-9]{2}:(?:[0-9]{2}\.[0-9]*[1-9]|[0-9][1-9]|[1-9]0)Z?)?$"
)
_DIGITS = 17
"""Significant digits of a float; a number with more digits is an id."""
_SMALLEST_IN_FULL = -20
"""Numbers with a smaller power of ten keep their exponent."""


class Spelling:
    """The kind of all values of a column: call :meth:`look` with every chunk's values, then read the properties."""

    def __init__(self) -> None:
        self._numbers = self._times = self._whole = True
        self._plain = True

    def look(self, values: pl.Series) -> None:
        """Take note of ``values``: text, null where missing."""
        if not (self._numbers or self._times):
            return
        other = values.filter(values.is_not_null() & ~values.str.contains(_INTEGER))
        if self._times and (len(other) < len(values) - values.null_count() or not _all(other, _TIME)):
            self._times = False
        if self._numbers and not _all(other, _NUMERIC):
            self._numbers = False
        if self._numbers:
            known = as_floats(other).drop_nulls().drop_nans()
            self._whole = self._whole and bool((known == known.floor()).all())
        if (self._numbers or self._times) and self._plain and len(other):
            self._plain = self.plain(other).equals(other)

    @property
    def kind(self) -> Kind:
        """The kind of the column; a column without values counts as integers."""
        if self._numbers:
            return "whole" if self._whole else "decimal"
        return "time" if self._times else "text"

    @property
    def mends(self) -> bool:
        """Whether some value is not in plain form."""
        return not self._plain and (self._numbers or self._times)

    def plain(self, values: pl.Series) -> pl.Series:
        """``values`` in plain form; null for NaN."""
        if self._numbers:
            return plain_numbers(values)
        return plain_times(values) if self._times else values


def _all(values: pl.Series, pattern: str) -> bool:
    return bool(values.str.contains(pattern).all())


def as_floats(values: pl.Series) -> pl.Series:
    """Float64; null where missing or not a number."""
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() == values.null_count():
        return numbers
    words = pl.when(values.is_in(_TRUE)).then(1.0).when(values.is_in(_FALSE)).then(0.0)
    return numbers.fill_null(pl.select(words.alias("value"))["value"])


def plain_numbers(values: pl.Series) -> pl.Series:
    """Numbers as text: integers without decimals, others with their shortest decimals; NaN is null.

    A text that may mean more than its value is left unchanged: leading zeros (``007``), trailing zeros (``4.10``), more
    digits than a float has.
    """
    values = values.str.replace(_FLOAT, "$1")
    values = values.set(values == "-0", "0")
    return _each(values, f"{_INTEGER}|{_DECIMAL}", _plain_number)


def plain_times(values: pl.Series) -> pl.Series:
    """ISO dates and times as text: ``2022-04-25``, ``2022-04-25 09:30:00``, ``... 09:30:00.5``, ``... 09:30:00Z``.

    Midnight without a zone is written as the day; times with a zone are converted to UTC.
    """
    values = values.str.replace(r"^(.{10})[T ]00:00(?::00(?:\.0+)?)?$", "$1")
    values = values.str.replace(r"^(.{10})T", "$1 ").str.replace(r"[+-]00(?::?00)?$", "Z")
    values = values.str.replace(r"^(.{10} [0-9]{2}:[0-9]{2})(Z?)$", "$1:00$2")
    values = values.str.replace(r"(\.[0-9]*[1-9])0+(Z?)$", "$1$2").str.replace(r"\.0+(Z?)$", "$1")
    return _each(values, _PLAIN_TIME, _in_utc)


def _each(values: pl.Series, done: str, mend: object) -> pl.Series:
    """``values`` with ``mend`` applied to those that do not match ``done``."""
    left = (values.is_not_null() & ~values.str.contains(done)).arg_true()
    if not len(left):
        return values
    mended = pl.Series([mend(value) for value in values.gather(left)], dtype=pl.String)  # type: ignore[operator]
    return values.scatter(left, mended)


def plain(text: str) -> str | None:
    """One value in plain form, if no column determines its kind (labels, names of splits)."""
    if re.search(_NUMERIC, text):
        return plain_numbers(pl.Series([text]))[0]
    return plain_times(pl.Series([text]))[0] if re.search(_TIME, text) else text


def as_float(text: str | None) -> float | None:
    """The number in ``text``; ``None`` if it is not a number, or NaN."""
    number = as_floats(pl.Series([text], dtype=pl.String))[0]
    return None if number is None or number != number else float(number)


def _plain_number(text: str) -> str | None:
    if text in _TRUE or text in _FALSE:
        return "1" if text in _TRUE else "0"
    if _NAN.fullmatch(text):
        return None
    if infinite := _INFINITE.fullmatch(text):
        return f"{infinite[1].replace('+', '')}inf"
    sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-")
    if digits[0] == "0" and digits[1:2].isdigit():
        return text  # leading zeros: a different id than the number
    if "e" not in digits.lower():
        digits = f"0{digits}" if digits[0] == "." else digits
        if digits.endswith("0") or len(digits.replace(".", "").lstrip("0")) > _DIGITS:
            return sign + digits
    try:
        number = Decimal(sign + digits)
        exponent = number.adjusted()
    except ArithmeticError:
        return text
    if abs(exponent) > 400:
        return text
    if not number:
        return "0"
    value = float(number)
    is_float = len(number.as_tuple().digits) <= _DIGITS and value != 0 and math.isfinite(value)
    if number == number.to_integral_value():
        # a float with an integer value is written as the integer, as other files may have it
        return f"{int(value) if is_float else int(number)}"
    number = Decimal(repr(value)) if is_float else number
    number = number.normalize()
    return f"{number:f}" if exponent >= _SMALLEST_IN_FULL else f"{number:e}"


def _in_utc(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return text
    zone = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    fraction = re.search(r"\.[0-9]*[1-9]", text)
    return f"{zone}{fraction[0] if fraction else ''}Z"
