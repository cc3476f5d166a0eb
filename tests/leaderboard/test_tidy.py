"""The tables as Parquet say what the CSV files say."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl

from sharkbench.leaderboard import write_tables
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.columns import LEADERBOARD, RUNS, run_rows
from sharkbench.leaderboard.csvfile import cell_text
from sharkbench.leaderboard.standings import standings_of
from sharkbench.leaderboard.tidy import write_parquet
from sharkbench.store import Store


def test_parquet_and_csv_agree(out: Path, add_run: Callable[..., str]) -> None:
    for seed in range(3):
        add_run("full", None, seed, {"click": 0.75})
        add_run("hash", 0.1, seed, {"click": 0.7})
    add_run("qr", 0.1, 0, None, status="failed", reason="=1+1")
    standings = standings_of(cells_of(Store(out)))
    paths = write_tables(out, standings)
    for columns, rows, path in zip((LEADERBOARD, RUNS), (standings, run_rows(standings)), paths, strict=True):
        write_parquet(path.with_suffix(".parquet"), columns, rows)  # type: ignore[arg-type, type-var]
        frame = pl.read_parquet(path.with_suffix(".parquet"))
        with path.open(newline="") as file:
            written = list(csv.DictReader(file))
        assert [{k: cell_text(v) for k, v in row.items()} for row in frame.to_dicts()] == written
    board = pl.read_parquet(out / "leaderboard.parquet")
    assert board.schema["auc_mean"] == pl.Float64
    assert board.schema["n_seeds"] == pl.Int64
