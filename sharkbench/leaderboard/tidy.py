"""The tables as CSV and as Parquet, which preserves the types of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sharkbench.files.durable import replacing
from sharkbench.leaderboard.columns import leaderboard_columns, metrics_of, table_of
from sharkbench.leaderboard.csvfile import Table, write_table
from sharkbench.leaderboard.run_columns import run_columns, run_rows
from sharkbench.leaderboard.standings import Standing


def write_tidy(out: Path, standings: Sequence[Standing]) -> list[Path]:
    """Write ``leaderboard`` and ``runs`` as ``.csv`` and ``.parquet`` into ``out``, each file atomically."""
    tasks = metrics_of(standing.cell for standing in standings)
    tables = {
        "leaderboard": table_of(leaderboard_columns(tasks), standings),
        "runs": table_of(run_columns(tasks), run_rows(standings)),
    }
    paths = []
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
        _write_parquet(out / f"{name}.parquet", table)
        paths += [out / f"{name}.csv", out / f"{name}.parquet"]
    return paths


def _write_parquet(path: Path, table: Table) -> None:
    frame = pl.DataFrame({name: pl.Series(name, values, strict=False) for name, values in table.items()})
    with replacing(path) as partial:
        frame.write_parquet(partial)
