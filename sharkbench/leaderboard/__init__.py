"""Tables, statistics and the report, computed from the store at any time: CSV, HTML, and a table for the terminal.

It depends on the store only, not on how runs are executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.columns import leaderboard_columns, metrics_of
from sharkbench.leaderboard.csvfile import write_csv
from sharkbench.leaderboard.run_columns import run_columns, run_rows
from sharkbench.leaderboard.standings import Standing, standings_of
from sharkbench.results.store import Store

__all__ = ["write"]


def write(out: Path, standings: Sequence[Standing] | None = None) -> tuple[Path, Path]:
    """Write ``<out>/leaderboard.csv`` and ``<out>/runs.csv`` from the present store, each atomically.

    Args:
        standings: standings of that store, if computed already.

    Returns:
        The two paths, in this order.
    """
    if standings is None:
        standings = standings_of(cells_of(Store(out)))
    leaderboard, runs = out / "leaderboard.csv", out / "runs.csv"
    tasks = metrics_of(standing.cell for standing in standings)
    write_csv(leaderboard, leaderboard_columns(tasks), standings)
    write_csv(runs, run_columns(tasks), run_rows(standings))
    return leaderboard, runs
