"""The leaderboard as a person reads it: a compact table per data set, backbone and label, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from sharkbench.leaderboard.cells import Cell, cells_of
from sharkbench.leaderboard.speeds import own_size
from sharkbench.store import Speed, Store

WIDTH = 100


def print_leaderboard(out: Path, console: Console) -> None:
    """Print what is in the store under ``out`` now. The best AUC of a budget has a star, and is bold on a terminal.

    A terminal of fewer than 100 columns is not shown speeds and costs; ``leaderboard.csv`` has everything.
    """
    cells = cells_of(Store(out))
    if not cells:
        console.print(f"No run has finished under {escape(str(out))} yet.", soft_wrap=True)
        return
    # A file or a pipe has no width: it gets the whole table, not one cut to the 80 columns that are assumed for it.
    width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    for (dataset, split, backbone, label), group in groupby(cells, key=_section):
        title = Text.assemble(
            (dataset, "bold"), f", {split} split, ", (backbone, "bold"), f", {label}" if label else ""
        )
        console.print()
        console.print(title, soft_wrap=True)
        table = _table(list(group), wide=width >= WIDTH)
        console.print(Segments(console.render(table, console.options.update(width=width))), crop=False)
    _print_notes(cells, console)


def _section(cell: Cell) -> tuple[str, str, str, str]:
    return cell.name.dataset, cell.name.split, cell.name.backbone, cell.name.label


def _table(cells: list[Cell], *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("budget", no_wrap=True)
    table.add_column("method", overflow="fold", min_width=12)
    figures = _FIGURES if wide else _FIGURES[:5]
    for heading, _ in figures:
        # Left, so that an AUC without a spread stands under those that have one.
        table.add_column(heading, justify="left" if heading == "AUC" else "right", no_wrap=True)
    for _, group in groupby(cells, key=lambda cell: cell.name.budget):
        rows = list(group)
        best = _best(rows)
        for cell in rows:
            budget = Text((cell.name.budget or "-") if cell is rows[0] else "")
            method = Text(f"{'*' if cell is best else ' '} {cell.name.method}")
            table.add_row(budget, method, *(show(cell) for _, show in figures), style="bold" if cell is best else "")
    return table


def _best(cells: list[Cell]) -> Cell | None:
    """The highest mean AUC of one budget; nothing wins where nothing competes."""
    judged = [(auc, cell) for cell in cells if (auc := cell.mean(lambda quality: quality.auc)) is not None]
    if len(judged) < 2 or not cells[0].name.budget:
        return None
    return max(judged, key=lambda entry: entry[0])[1]


def _auc(cell: Cell) -> str:
    auc, spread = cell.mean(lambda quality: quality.auc), cell.auc_std
    if auc is None:
        return cell.status
    return f"{auc:.4f}" + (f" ±{spread:.4f}" if spread is not None else "")


def _seeds(cell: Cell) -> str:
    return f"{len(cell.ok)}/{len(cell.runs)}" if cell.n_failed else str(len(cell.ok))


_FIGURES: tuple[tuple[str, Callable[[Cell], str]], ...] = (
    ("bytes", lambda cell: _size(cell.mean_of(lambda result: result.bytes))),
    ("of fp32", lambda cell: _number(cell.mean_of(lambda result: result.bytes_ratio), ".1%")),
    ("AUC", _auc),
    ("to fp32", lambda cell: "" if cell.is_reference else _number(cell.auc_delta, "+.4f")),
    ("seeds", _seeds),
    ("lookups", lambda cell: _times(cell.median_ratio(_lookup_ratio))),
    ("model", lambda cell: _times(cell.median_ratio(lambda speed: speed.model_ratio_fp32))),
    ("train", lambda cell: _duration(cell.mean_cost(lambda cost: cost.seconds))),
)


def _lookup_ratio(speed: Speed) -> float | None:
    timing = own_size(speed)
    return timing.ratio_fp32 if timing else None


def _print_notes(cells: list[Cell], console: Console) -> None:
    console.print()
    console.print(
        Text(
            "* best AUC of its budget; AUC: test split, through the packed table;\n"
            "  lookups, model: speed relative to the fp32 table; train: time of every training stage."
        ),
        style="dim",
        soft_wrap=True,
    )
    reasons: dict[str, None] = {}
    for cell in cells:
        if cell.status != "ok":
            at = f" at {cell.name.budget}" if cell.name.budget else ""
            where = f"{cell.name.dataset}, {cell.name.backbone}, {cell.name.method}{at}"
            reasons[f"! {where}: {cell.status}: {cell.reason}"] = None
    for line in reasons:
        console.print(Text(line), soft_wrap=True)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}x" if ratio < 10 else f"{ratio:.0f}x"


def _size(nbytes: float | None) -> str:
    if nbytes is None:
        return ""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes:.0f} B"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}min" if seconds < 6000 else f"{seconds / 3600:.1f}h"
