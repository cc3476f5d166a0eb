"""Checks labels, weight, time and split of each row; an error names the first invalid row."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from sharkbench.data.distinct import codes
from sharkbench.data.options import GivenSplit, Label
from sharkbench.data.readers.base import Chunk, Source
from sharkbench.data.spelling import as_float, as_floats, plain
from sharkbench.errors import DataError

PARTS = ("train", "valid", "test")


class RowChecks:
    """The checks of one chunk's columns, which are given as codes into distinct values.

    Raises:
        DataError: from every method; names the first invalid row.
    """

    def __init__(self, source: Source, chunk: Chunk) -> None:
        self.source, self.chunk = source, chunk
        self.occurring: set[str] = set()
        """Listed label values that occurred, in plain form."""

    def label(self, coded: pa.DictionaryArray, label: Label) -> np.ndarray:
        """``[B]`` uint8, 0 or 1."""
        text = [*coded.dictionary.to_pylist(), None]
        numbers = [as_float(value) for value in text]
        values: list[int | None]
        if listed := label.positive or label.negative:
            chosen = {plain(str(value).strip()) for value in listed}
            said = [None if value is None else plain(value) for value in text]
            values = [None if v is None else int((v in chosen) == bool(label.positive)) for v in said]
            self.occurring.update(v for v in said if v is not None and v in chosen)
            problem = "every row needs a value"
        elif label.at_least is not None:
            values = [None if x is None else int(x >= label.at_least) for x in numbers]
            problem = "at_least needs a number in every row"
        else:
            values = [int(x) if x in (0.0, 1.0) else None for x in numbers]
            problem = "not 0 or 1; correct it, or say with positive, negative or at_least what raw values mean"
        self._refuse(coded, np.array([v is None for v in values]), f"label '{label.column}'", problem)
        return np.array([v or 0 for v in values], dtype=np.uint8)[codes(coded)]

    def order(self, coded: pa.DictionaryArray, name: str, dates: bool | None = None) -> tuple[np.ndarray, bool | None]:
        """``[B]`` float64 that sorts like the column's numbers or ISO dates, and whether they are dates.

        ``dates`` says whether the earlier rows are dates; ``None`` if there are no earlier rows.
        """
        text = pl.Series(coded.dictionary, dtype=pl.String)
        numbers = as_floats(text).fill_null(np.nan).to_numpy()
        seconds = np.array(
            [_seconds(value) if unknown else np.nan for value, unknown in zip(text, np.isnan(numbers), strict=True)],
            dtype=np.float64,
        )
        if dates is None:
            known = codes(coded)[np.append(~(np.isnan(numbers) & np.isnan(seconds)), False)[codes(coded)]]
            dates = bool(np.isnan(numbers[known[0]])) if len(known) else None
        problem = "a temporal split needs a number or an ISO date"
        if not np.isnan(numbers if dates else seconds).all():
            problem = f"{'an ISO date' if dates else 'a number'} is needed, as in the rows before"
        numbers = seconds if dates else numbers
        values = np.append(numbers, np.nan)
        self._refuse(coded, np.isnan(values), f"column '{name}'", problem)
        return values[codes(coded)], dates

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
        meant = {plain(name): part for name, part in known.items()}
        text = [*coded.dictionary.to_pylist(), None]
        values = np.array([255 if v is None else meant.get(plain(v), 255) for v in text], dtype=np.uint8)
        problem = f"not one of {', '.join(known)}; name the column's values in split"
        self._refuse(coded, values == 255, f"column '{split.column}'", problem)
        return values[codes(coded)]

    def numbers(self, coded: pa.DictionaryArray, name: str) -> None:
        """Check that every value that is not missing is a number."""
        text = pl.Series(coded.dictionary, dtype=pl.String)
        bad = (as_floats(text).is_null() & text.is_not_null()).to_numpy()
        problem = "not a number; list the column under categorical, or the value under missing"
        self._refuse(coded, np.append(bad, False), f"column '{name}'", problem)

    def _refuse(self, coded: pa.DictionaryArray, bad: np.ndarray, what: str, problem: str) -> None:
        """Raise for the first row whose value is ``bad`` ``[U + 1]``; the last entry is for missing values."""
        if not bad.any():
            return
        rows = np.flatnonzero(bad[codes(coded)])
        if len(rows):
            row = int(rows[0])
            value = coded[row].as_py()
            found = "is missing" if value is None else f"is '{value}'"
            place = self.source.row_name(self.chunk.place, self.chunk.first + row)
            raise DataError(f"{place}: {what} {found}: {problem}")


def _seconds(text: str | None) -> float:
    """Seconds since 1970 of an ISO date or time (UTC if it has no zone); NaN for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
