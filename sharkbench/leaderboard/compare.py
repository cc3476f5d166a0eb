"""Compares two result sets, of different revisions, recipes or machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sharkbench.leaderboard.cells import Cell, CellName
from sharkbench.leaderboard.columns import Column, Value
from sharkbench.leaderboard.csvfile import write_csv
from sharkbench.leaderboard.figures import size, times
from sharkbench.leaderboard.statistics import Difference, paired_difference
from sharkbench.results.metrics import Metric


@dataclass(frozen=True)
class Pairing:
    """One cell in both sets; either side may lack it."""

    name: CellName
    first: Cell | None
    second: Cell | None

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        cell = self.first or self.second
        assert cell is not None
        return cell.metric

    @property
    def difference(self) -> Difference | None:
        """The primary metric of the second minus that of the first, paired by seed on the same data; ``None`` without
        pairs."""
        if self.first is None or self.second is None:
            return None
        return paired_difference(_by_data_and_seed(self.second), _by_data_and_seed(self.first))

    @property
    def remark(self) -> str:
        """Remark on the comparability of the pair."""
        if self.first is None or self.second is None:
            return "only in the second" if self.first is None else "only in the first"
        if {run.result.data_fingerprint for run in self.first.runs} != {
            run.result.data_fingerprint for run in self.second.runs
        }:
            return "other data: not compared"
        states = (self.first.status, self.second.status)
        if states != ("ok", "ok"):
            return states[0] if states[0] == states[1] else f"{states[0]}, then {states[1]}"
        if {run.result.comparison for run in self.first.runs} != {run.result.comparison for run in self.second.runs}:
            return "other recipe"
        return ""


def compare(first: Iterable[Cell], second: Iterable[Cell]) -> list[Pairing]:
    """All cells of both sets, in the order of the first; cells that only the second has are at the end."""
    one, two = _by_name(first), _by_name(second)
    return [Pairing(name, one.get(name), two.get(name)) for name in [*one, *(name for name in two if name not in one)]]


def _by_name(cells: Iterable[Cell]) -> Mapping[CellName, Cell]:
    return {cell.name: cell for cell in cells}


def _by_data_and_seed(cell: Cell) -> dict[tuple[str, int], float]:
    fingerprints = {run.result.seed: run.result.data_fingerprint for run in cell.ok}
    return {(fingerprints[seed], seed): value for seed, value in cell.value_by_seed.items()}


def _value(cell: Cell | None) -> float | None:
    return cell.value_mean if cell else None


def _bytes(cell: Cell | None) -> float | None:
    return cell.mean_of(lambda result: result.bytes) if cell else None


def _lookups(cell: Cell | None) -> float | None:
    return cell.lookup_ratio if cell else None


def _seconds(cell: Cell | None) -> float | None:
    return cell.mean_cost(lambda cost: cost.seconds) if cell else None


def _bound(pairing: Pairing, *, high: bool) -> Value:
    interval = pairing.difference.interval if pairing.difference else None
    return None if interval is None else interval.high if high else interval.low


def columns(pairings: Iterable[Pairing]) -> tuple[Column[Pairing], ...]:
    """The columns of the comparison; those of a metric are empty in rows of another metric."""
    metrics = {pairing.metric.name: pairing.metric for pairing in pairings}
    return (*_NAMES, *(column for metric in metrics.values() for column in _of_metric(metric)), *_OTHERS)


def _of_metric(metric: Metric) -> list[Column[Pairing]]:
    def own(value: Callable[[Pairing], Value]) -> Callable[[Pairing], Value]:
        return lambda pairing: value(pairing) if pairing.metric.name == metric.name else None

    name, title = metric.name, metric.title
    change = own(lambda p: p.difference.mean if p.difference else None)
    return [
        Column(f"{name}_first", f"mean test {title} in the first set", own(lambda p: _value(p.first))),
        Column(f"{name}_second", f"mean test {title} in the second set", own(lambda p: _value(p.second))),
        Column(f"{name}_change", "second minus first, paired by seed", change),
        Column(f"{name}_change_low", "lower end of its 95% interval over seeds", own(lambda p: _bound(p, high=False))),
        Column(f"{name}_change_high", "upper end of it", own(lambda p: _bound(p, high=True))),
    ]


_NAMES: tuple[Column[Pairing], ...] = (
    Column("dataset", "data set", lambda p: p.name.dataset),
    Column("split", "how it was split", lambda p: p.name.split),
    Column("backbone", "backbone", lambda p: p.name.backbone),
    Column("method", "method, as labelled in the suite", lambda p: p.name.method),
    Column("label", "label that is predicted", lambda p: p.name.label),
    Column("budget", "bytes asked for", lambda p: p.name.budget),
)

_OTHERS: tuple[Column[Pairing], ...] = (
    Column("n_pairs", "seeds that both have", lambda p: p.difference.n if p.difference else 0),
    Column("bytes_first", "bytes of the packed layer in the first set", lambda p: _bytes(p.first)),
    Column("bytes_second", "the same in the second set", lambda p: _bytes(p.second)),
    Column("lookups_ratio_fp32_first", "lookups relative to fp32 in the first set", lambda p: _lookups(p.first)),
    Column("lookups_ratio_fp32_second", "the same in the second set", lambda p: _lookups(p.second)),
    Column("train_seconds_first", "time of every training stage in the first set", lambda p: _seconds(p.first)),
    Column("train_seconds_second", "the same in the second set", lambda p: _seconds(p.second)),
    Column("remark", "what has to be known of the pair", lambda p: p.remark or None),
)


def write_comparison(path: Path, pairings: Iterable[Pairing]) -> None:
    """Write the comparison as CSV, atomically."""
    listed = list(pairings)
    write_csv(path, columns(listed), listed)


def print_comparison(pairings: Iterable[Pairing], console: Console) -> None:
    """Print a line per cell; significant changes of the metric are bold."""
    pairings = list(pairings)
    titles = {pairing.metric.title: None for pairing in pairings}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("data set", "backbone", "label", "budget", "method"):
        table.add_column(heading, overflow="fold")
    for heading in (next(iter(titles)) if len(titles) == 1 else "metric", "change", "95% interval", "bytes", "lookups"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("remark", overflow="fold")
    for p in pairings:
        difference = p.difference
        interval = difference.interval if difference else None
        names = (p.name.dataset, p.name.backbone, p.name.label, p.name.budget or "-", p.name.method)
        first, second = ("" if value is None else p.metric.text(value) for value in map(_value, (p.first, p.second)))
        figures = (
            _change(first, second),
            p.metric.change(difference.mean) if difference else "",
            f"[{p.metric.change(interval.low)}, {p.metric.change(interval.high)}]" if interval else "",
            _change(size(_bytes(p.first)), size(_bytes(p.second))),
            _change(times(_lookups(p.first)), times(_lookups(p.second))),
        )
        style = "bold" if difference and difference.resolved else ""
        table.add_row(*map(Text, names), *map(Text, figures), Text(p.remark), style=style)
    console.print(table)


def _change(first: str, second: str) -> str:
    return first if first == second else f"{first or '-'} > {second or '-'}"
