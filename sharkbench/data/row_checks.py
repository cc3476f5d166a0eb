"""Labels, weight, time and split of each row, checked: the first row that cannot be meant is named."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from sharkbench.data.coding import codes
from sharkbench.data.options import GivenSplit, Label
from sharkbench.data.sources.base import Chunk, Source
from sharkbench.errors import DataError

PARTS = ("train", "valid", "test")


class RowChecks:
    """The checks of one chunk's columns, which arrive as codes into distinct values.

    Raises:
        DataError: in every method, naming the first bad row.
    """

    def __init__(self, source: Source, chunk: Chunk) -> None:
        self.source, self.chunk = source, chunk

    def label(self, coded: pa.DictionaryArray, label: Label) -> np.ndarray:
        """``[B]`` uint8, 0 or 1."""
        text = [*coded.dictionary.to_pylist(), None]
        numbers = [_number(value) for value in text]
        values: list[int | None]
        if label.positive or label.negative:
            chosen = {str(value).strip() for value in label.positive or label.negative}
            values = [None if v is None else int((v in chosen) == bool(label.positive)) for v in text]
            problem = "every row needs a value"
        elif label.at_least is not None:
            values = [None if x is None else int(x >= label.at_least) for x in numbers]
            problem = "at_least needs a number in every row"
        else:
            values = [int(x) if x in (0.0, 1.0) else None for x in numbers]
            problem = "not 0 or 1; correct it, or say with positive, negative or at_least what raw values mean"
        self._refuse(coded, np.array([v is None for v in values]), f"label '{label.column}'", problem)
        return np.array([v or 0 for v in values], dtype=np.uint8)[codes(coded)]

    def order(self, coded: pa.DictionaryArray, name: str) -> np.ndarray:
        """``[B]`` float64 that sorts like the column's numbers or ISO dates."""
        text = pl.Series(coded.dictionary, dtype=pl.String)
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.null_count() > text.null_count():
            dates = pl.Series([_seconds(value) for value in text], dtype=pl.Float64)
            numbers = dates if dates.null_count() < numbers.null_count() else numbers
        values = np.append(numbers.to_numpy().astype(np.float64), np.nan)
        self._refuse(coded, np.isnan(values), f"column '{name}'", "a temporal split needs a number or an ISO date")
        return values[codes(coded)]

    def weight(self, coded: pa.DictionaryArray, name: str) -> np.ndarray:
        """``[B]`` float64, finite and 0 or more."""
        numbers = pl.Series(coded.dictionary, dtype=pl.String).cast(pl.Float64, strict=False)
        values = np.append(numbers.to_numpy().astype(np.float64), np.nan)
        bad = ~(np.isfinite(values) & (values >= 0))
        self._refuse(coded, bad, f"weight '{name}'", "every row needs a finite number, 0 or more; correct or drop it")
        return values[codes(coded)]

    def part(self, coded: pa.DictionaryArray, split: GivenSplit) -> np.ndarray:
        """``[B]`` uint8: 0, 1, 2 for train, valid, test, by a column that names the split."""
        names = (split.train, split.valid, split.test)
        known = {str(name): part for part, name in enumerate(names) if name is not None}
        text = [*coded.dictionary.to_pylist(), None]
        values = np.array([255 if v is None else known.get(v, 255) for v in text], dtype=np.uint8)
        problem = f"not one of {', '.join(known)}; name the column's values in split"
        self._refuse(coded, values == 255, f"column '{split.column}'", problem)
        return values[codes(coded)]

    def numbers(self, coded: pa.DictionaryArray, name: str) -> None:
        """Every value that is there is a number."""
        text = pl.Series(coded.dictionary, dtype=pl.String)
        bad = (text.cast(pl.Float64, strict=False).is_null() & text.is_not_null()).to_numpy()
        problem = "not a number; list the column under categorical, or the value under missing"
        self._refuse(coded, np.append(bad, False), f"column '{name}'", problem)

    def _refuse(self, coded: pa.DictionaryArray, bad: np.ndarray, what: str, problem: str) -> None:
        """Raise for the first row whose value is ``bad`` ``[U + 1]``; the last entry stands for missing."""
        if not bad.any():
            return
        rows = np.flatnonzero(bad[codes(coded)])
        if len(rows):
            row = int(rows[0])
            value = coded[row].as_py()
            found = "is missing" if value is None else f"is '{value}'"
            place = self.source.row_name(self.chunk.place, self.chunk.first + row)
            raise DataError(f"{place}: {what} {found}: {problem}")


def _seconds(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO date or time; without a zone it counts as UTC."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str | None) -> float | None:
    try:
        number = float("nan") if text is None else float(text)
    except ValueError:
        return None
    return None if np.isnan(number) else number
