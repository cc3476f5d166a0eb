"""CSV files that appear in one rename, and that a spreadsheet opens without running anything in them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sharkbench.leaderboard.columns import Column, Value
from sharkbench.store import write_text

Row = TypeVar("Row")

_FORMULA_STARTS = ("=", "+", "-", "@")


def cell_text(value: Value) -> str:
    """What stands in the file: empty for ``None`` and NaN, six decimals at most, no text that a spreadsheet runs.

    A text (a name that somebody chose, the reason of a failure) stays on one line, and gets a leading apostrophe where
    it begins like a formula, blanks before it not counted.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return f"{value:.0f}" if abs(value) >= 1e6 else f"{round(value, 6):.15g}"
    if isinstance(value, int):
        return str(value)
    return _plain(value)


@lru_cache(maxsize=4096)
def _plain(value: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


def write_csv(path: Path, columns: Sequence[Column[Row]], rows: Iterable[Row]) -> None:
    """Write ``rows`` under a header of the columns' names. A reader sees the old file or the new one, never a part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    for row in rows:
        writer.writerow(cell_text(column.value(row)) for column in columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())
