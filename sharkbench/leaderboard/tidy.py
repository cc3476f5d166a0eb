"""The tables as Parquet, with the types of their values; CSV is written by every run anyway."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from sharkbench.leaderboard.columns import Column

Row = TypeVar("Row")


def write_parquet(path: Path, columns: Sequence[Column[Row]], rows: Iterable[Row]) -> None:
    """Write ``rows`` with a column for each of ``columns``; the file appears in one rename. Empty cells are null."""
    rows = list(rows)
    frame = pl.DataFrame({c.name: pl.Series(c.name, [c.value(row) for row in rows], strict=False) for c in columns})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        frame.write_parquet(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
