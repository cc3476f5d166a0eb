"""CSV files, written atomically and safe to open in a spreadsheet: no cell is run as a formula."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sharkbench.files.durable import write_text
from sharkbench.leaderboard.columns import Column, Value, table_of

Row = TypeVar("Row")
Table = dict[str, list[Value]]
"""Columns by name, all of the same length."""

_FORMULA_STARTS = ("=", "+", "-", "@")


@lru_cache(maxsize=2**15, typed=True)
def cell_text(value: Value) -> str:
    """What stands in the file: empty for ``None`` and NaN, six decimals at most, no text that a spreadsheet runs.

    A text (a name that somebody chose, the reason of a failure) stays on one line, and gets a leading apostrophe where
    it begins like a formula, blanks before it not counted.
    """
    if isinstance(value, str):
        return _plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return f"{value:.0f}" if abs(value) >= 1e6 else f"{round(value, 6):.15g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


def write_table(path: Path, table: Table) -> None:
    """Write a table under a header of its columns. A reader sees the old file or the new one, never a part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(map(cell_text, values) for values in table.values()), strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def write_csv(path: Path, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> None:
    """Write ``rows`` under a header of the columns' names, in one rename."""
    write_table(path, table_of(columns, rows))
