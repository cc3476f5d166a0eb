"""The tables as CSV and as Parquet, which keeps the types of their values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from sharkbench.leaderboard.columns import LEADERBOARD, RUNS, Column, Value, run_rows
from sharkbench.leaderboard.csvfile import write_csv
from sharkbench.leaderboard.standings import Standing

Row = TypeVar("Row")


def write_tidy(out: Path, standings: Sequence[Standing]) -> list[Path]:
    """Write ``leaderboard`` and ``runs`` as ``.csv`` and ``.parquet`` into ``out``; each file appears in one rename."""
    tables = {"leaderboard": _known(LEADERBOARD, standings), "runs": _known(RUNS, run_rows(standings))}
    paths = []
    for name, (columns, rows) in tables.items():
        write_csv(out / f"{name}.csv", columns, rows)
        _write_parquet(out / f"{name}.parquet", columns, rows)
        paths += [out / f"{name}.csv", out / f"{name}.parquet"]
    return paths


def _known(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> tuple[list[Column[list[Value]]], list[list[Value]]]:
    """The same columns over rows of values that are worked out once, for all files."""
    known: list[Column[list[Value]]] = [Column(c.name, c.meaning, itemgetter(i)) for i, c in enumerate(columns)]
    return known, [[column.value(row) for column in columns] for row in rows]


def _write_parquet(path: Path, columns: Sequence[Column[Any]], rows: Sequence[Any]) -> None:
    frame = pl.DataFrame({c.name: pl.Series(c.name, [c.value(row) for row in rows], strict=False) for c in columns})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        frame.write_parquet(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
