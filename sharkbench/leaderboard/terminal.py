"""The leaderboard on a terminal: a compact table per data set, backbone and label, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from sharkbench.leaderboard.cells import Cell, cells_of
from sharkbench.leaderboard.figures import duration, number, size
from sharkbench.leaderboard.remarks import times_of
from sharkbench.leaderboard.standings import Standing, standings_of
from sharkbench.results.records import State
from sharkbench.results.store import Store
from sharkbench.text import aligned

WIDTH = 100


def print_leaderboard(out: Path, console: Console, standings: Sequence[Standing] | None = None) -> None:
    """Print the leaderboard of the store under ``out``. The best row of a budget by the primary metric has a star, and
    is bold on a terminal; rows without a significant difference share it.

    On a terminal of fewer than 100 columns speeds and costs are left out; ``leaderboard.csv`` has everything.

    Args:
        standings: standings of that store, if computed already.
    """
    if standings is None:
        standings = standings_of(cells_of(Store(out)))
    if not standings:
        console.print(f"No run has finished under {escape(str(out))} yet.", soft_wrap=True)
        return
    # A file or a pipe has no width: print the whole table, not one cut to the assumed 80 columns.
    width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    marked = len({standing.cell.state for standing in standings}) > 1  # a common state is printed once, below
    several = len({standing.section.task for standing in standings}) > 1
    for (dataset, split, backbone, label, task), group in groupby(standings, key=lambda standing: standing.section):
        title = Text.assemble(
            (dataset, "bold"),
            f", {split} split, ",
            (backbone, "bold"),
            f", {label}" if label else "",
            f", {task}" * several,
        )
        console.print()
        console.print(title, soft_wrap=True)
        _print_table(list(group), console, width, marked)
    _print_notes(standings, console)


def _print_table(standings: list[Standing], console: Console, width: int, marked: bool) -> None:
    figures = _FIGURES if width >= WIDTH else _FIGURES[:5]
    title = standings[0].cell.metric.title
    rows = [("budget", "method", *(heading or title for heading, _ in figures))]
    styles = ["dim"]
    for _, group in groupby(standings, key=lambda standing: standing.cell.name.budget):
        members = list(group)
        best = _best(members)
        for standing in members:
            cell = standing.cell
            budget = (cell.name.budget or "-") if standing is members[0] else ""
            mark = _MARKS.get(cell.state, "") if marked else ""
            method = f"{'*' if standing in best else ' '} {cell.name.method}{mark}"
            rows.append((budget, method, *(show(cell) for _, show in figures)))
            styles.append("bold" if standing in best else "")
    if lines := aligned(rows, range(2, len(rows[0])), width):
        console.print(Text("\n").join(map(Text, lines, styles)), soft_wrap=True)
    else:
        table = _folded(rows, styles)
        console.print(Segments(console.render(table, console.options.update(width=width))), crop=False)


def _folded(rows: Sequence[Sequence[str]], styles: Sequence[str]) -> Table:
    """The table with folded cells, for method names that are too long for a line."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=styles[0])
    table.add_column(rows[0][0], no_wrap=True)
    table.add_column(rows[0][1], overflow="fold", min_width=12)
    for heading in rows[0][2:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row, style in zip(rows[1:], styles[1:], strict=True):
        table.add_row(*map(Text, row), style=style)
    return table


def _best(standings: list[Standing]) -> list[Standing]:
    """The rows with the first rank of one budget, or with too few seeds for ranks the best mean; none without
    competitors."""
    means = {i: score for i, s in enumerate(standings) if (score := s.cell.score_mean) is not None}
    if len(means) < 2 or not standings[0].cell.name.budget:
        return []
    ranked = [standing for standing in standings if standing.rank == 1]
    return ranked or [standings[max(means, key=lambda i: means[i])]]


def _value(cell: Cell) -> str:
    mean, spread = cell.value_mean, cell.value_std
    if mean is None:
        return cell.status
    return cell.metric.text(mean) + (f" ±{cell.metric.text(spread)}" if spread is not None else "")


def _delta(cell: Cell) -> str:
    return "" if cell.is_reference or cell.value_delta is None else cell.metric.change(cell.value_delta)


def _seeds(cell: Cell) -> str:
    return f"{len(cell.ok)}/{len(cell.runs)}" if cell.n_failed else str(len(cell.ok))


_FIGURES: tuple[tuple[str, Callable[[Cell], str]], ...] = (  # the heading of the metric is its title
    ("bytes", lambda cell: size(cell.mean_of(lambda result: result.bytes))),
    ("of fp32", lambda cell: number(cell.mean_of(lambda result: result.bytes_ratio), ".1%")),
    ("", _value),
    ("to fp32", _delta),
    ("seeds", _seeds),
    ("lookups", lambda cell: times_of(cell, cell.lookup_ratio)),
    ("model", lambda cell: times_of(cell, cell.median_ratio(lambda speed: speed.model_ratio_fp32))),
    ("train", lambda cell: duration(cell.mean_cost(lambda cost: cost.seconds))),
)


STALE = "by code that has changed since; 'sharkbench verify' shows whether it still comes to the same"
_NAMED = 4
"""Largest number of rows that are named for one remark; the report names all."""
_TILDE: State = "verified on other hardware"
_MARKS: dict[State, str] = {"stale": " [stale]", _TILDE: " [verified ~]"}


def _where(cell: Cell) -> str:
    at = f" at {cell.name.budget}" if cell.name.budget else ""
    return f"{cell.name.dataset}, {cell.name.backbone}, {cell.name.method}{at}"


def _print_notes(standings: Sequence[Standing], console: Console) -> None:
    titles = " or ".join(dict.fromkeys(standing.cell.metric.title for standing in standings))
    busy = any(run.speed.busy for standing in standings for run in standing.cell.ok if run.speed)
    states = {standing.cell.state for standing in standings}
    console.print()
    console.print(
        Text(
            f"* best {titles} of its budget, shared where seeds cannot tell; {titles}: test split, through the packed "
            "table;\n"
            "  lookups, model: speed relative to the fp32 table; train: time of every training stage."
            + (f"\n  {'all are ' * (len(states) == 1)}[stale]: {STALE}" if "stale" in states else "")
            + ("\n  [verified ~]: by earlier code, verified on other hardware" if _TILDE in states else "")
            + ("\n  ?: timed while other processes kept the machine busy" if busy else "")
        ),
        style="dim",
        soft_wrap=True,
    )
    reasons: dict[str, None] = {}
    remarked: dict[str, dict[str, None]] = {}
    for standing in standings:
        cell = standing.cell
        if cell.status != "ok":
            reasons[f"! {_where(cell)}: {cell.status}: {cell.reason}"] = None
        for remark in standing.remarks:
            if remark.on_terminal:
                label = f", {cell.name.label}" if cell.name.label else ""
                remarked.setdefault(remark.text, {})[f"{_where(cell)}{label}"] = None
    for line in [*reasons, *(f"? {_some(list(rows))}: {text}" for text, rows in remarked.items())]:
        console.print(Text(line), soft_wrap=True)


def _some(names: Sequence[str]) -> str:
    shown = "; ".join(names[:_NAMED])
    return f"{shown}; and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
