"""The tables as Parquet say what the CSV files say."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl

from sharkbench import leaderboard
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.csvfile import cell_text
from sharkbench.leaderboard.standings import standings_of
from sharkbench.leaderboard.tidy import write_tidy
from sharkbench.results.store import Store


def test_parquet_and_csv_agree(out: Path, add_run: Callable[..., str]) -> None:
    for seed in range(3):
        add_run("full", None, seed, {"click": 0.75})
        add_run("hash", 0.1, seed, {"click": 0.7})
    add_run("qr", 0.1, 0, None, status="failed", reason="=1+1")
    standings = standings_of(cells_of(Store(out)))
    paths = write_tidy(out, standings)
    assert [path.name for path in paths] == ["leaderboard.csv", "leaderboard.parquet", "runs.csv", "runs.parquet"]
    for text, typed in zip(paths[::2], paths[1::2], strict=True):
        with text.open(newline="") as file:
            written = list(csv.DictReader(file))
        assert [{k: cell_text(v) for k, v in row.items()} for row in pl.read_parquet(typed).to_dicts()] == written
    board = pl.read_parquet(out / "leaderboard.parquet")
    assert board.schema["auc_mean"] == pl.Float64
    assert board.schema["n_seeds"] == pl.Int64


def test_the_csv_files_are_those_of_every_run(out: Path, add_run: Callable[..., str]) -> None:
    add_run("full", None, 0, {"click": 0.75})
    before = [path.read_text() for path in leaderboard.write(out)]
    write_tidy(out, standings_of(cells_of(Store(out))))
    assert [(out / name).read_text() for name in ("leaderboard.csv", "runs.csv")] == before
