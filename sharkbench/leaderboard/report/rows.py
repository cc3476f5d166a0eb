"""The rows of the report's leaderboard, as text and as values to sort by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sharkbench.leaderboard.cells import Cell, FinishedRun
from sharkbench.leaderboard.columns import Tasks, distinct
from sharkbench.leaderboard.figures import duration, p_value, percent, size
from sharkbench.leaderboard.remarks import times_of
from sharkbench.leaderboard.standings import Standing


class Entry(NamedTuple):
    """One cell of a table: what is shown, and the number it is sorted by and copied as (the text where ``None``)."""

    text: str
    value: float | None = None

    @property
    def hidden(self) -> str:
        """The number, where the text does not say it already."""
        number = "" if self.value is None else f"{self.value:.6g}"
        return "" if number == self.text else number


@dataclass(frozen=True)
class Heading:
    """A column of the report's leaderboard."""

    name: str
    text: str
    meaning: str
    entry: Callable[[Standing], Entry]
    style: Literal["", "n", "n detail", "detail", "text"] = "n"
    """``n``: a number; ``text``: of any length; ``detail``: left out on small screens."""
    filtered: bool = False


@dataclass(frozen=True)
class Drawn:
    """An interval as it is drawn, in pixels of a picture :data:`WIDTH` wide; ``hollow`` where it contains 0."""

    low: float | None
    high: float | None
    mean: float
    hollow: bool


WIDTH = 150
_LINEAR, _EDGE = 0.001, 0.3


def position(difference: float) -> float:
    """Where a difference is drawn: linear up to about 0.001, logarithmic beyond, 0 in the middle."""
    clipped = max(-_EDGE, min(_EDGE, difference))
    return round(WIDTH / 2 * (1 + 0.96 * math.asinh(clipped / _LINEAR) / math.asinh(_EDGE / _LINEAR)), 1)


def drawn(standing: Standing) -> Drawn | None:
    difference = standing.difference
    if difference is None:
        return None
    interval = difference.interval
    factor = standing.cell.metric.factor
    low, high = (position(interval.low * factor), position(interval.high * factor)) if interval else (None, None)
    return Drawn(low, high, position(difference.mean * factor), hollow=not difference.resolved)


def _name(value: str) -> Entry:
    return Entry(value)


def _value(standing: Standing) -> Entry:
    mean, spread, metric = standing.cell.value_mean, standing.cell.value_std, standing.cell.metric
    if mean is None:
        return Entry(standing.cell.status)
    return Entry(metric.text(mean) + (f" ± {metric.text(spread)}" if spread is not None else ""), mean)


def _difference(standing: Standing) -> Entry:
    difference = standing.difference
    return Entry("") if difference is None else Entry(standing.cell.metric.change(difference.mean), difference.mean)


def _interval(standing: Standing) -> Entry:
    interval, change = standing.difference.interval if standing.difference else None, standing.cell.metric.change
    return Entry("") if interval is None else Entry(f"[{change(interval.low)}, {change(interval.high)}]", interval.low)


def _resolution(standing: Standing) -> Entry:
    found = standing.resolution
    return Entry("") if found is None else Entry(standing.cell.metric.text(found), found)


def _rank(standing: Standing) -> Entry:
    if standing.rank is not None:
        return Entry(f"{'=' * standing.shared}{standing.rank} of {standing.rivals}", standing.rank)
    return Entry("last", standing.rivals) if standing.worst and standing.rivals else Entry("")


def _figure(value: float | None, show: Callable[[float | None], str]) -> Entry:
    return Entry(show(value), value)


def _speed(cell: Cell, ratio: float | None) -> Entry:
    return Entry(times_of(cell, ratio), ratio)


def _seeds(standing: Standing) -> Entry:
    cell = standing.cell
    return Entry(f"{len(cell.ok)}/{len(cell.runs)}" if cell.n_failed else str(len(cell.ok)), len(cell.ok))


def _remarks(standing: Standing) -> Entry:
    cell = standing.cell
    failure = [] if cell.status == "ok" else [f"{cell.status}: {cell.reason}"]
    return Entry("; ".join([*failure, *(remark.text for remark in standing.remarks)]))


def _budget(standing: Standing) -> Entry:
    name = standing.cell.name.budget
    try:
        return Entry(name, float(name))
    except ValueError:
        return Entry(name)


def headings(tasks: Tasks) -> tuple[Heading, ...]:
    """The columns for what has those metrics; its task is named where there are several."""
    primary = distinct(tasks, lambda metric: metric.primary)
    titles = " or ".join(metric.title for metric in primary)
    units = " or ".join(dict.fromkeys(metric.units for metric in primary))
    by = ", ".join(dict.fromkeys(metric.by for metric in primary if metric.by))
    return (
        *(
            [Heading("task", "task", "task", lambda s: _name(s.cell.name.task), style="", filtered=True)]
            * (len(tasks) > 1)
        ),
        *_BEFORE,
        Heading(
            "value", titles, f"test {titles} through the packed table, mean and standard deviation over seeds", _value
        ),
        Heading(
            "difference", "to fp32", f"{titles} minus that of the fp32 table with the same seed, mean", _difference
        ),
        Heading("interval", "95% interval", "of that difference over seeds, Student's t", _interval),
        Heading(
            "p_holm",
            "p",
            "paired t-test of no difference, corrected (Holm) for the methods of the same budget",
            lambda s: _figure(s.p_holm, p_value),
            style="n detail",
        ),
        Heading(
            "resolution",
            f"{units} show",
            f"the smallest difference to fp32 that the {units} of the test split can show" + (f" ({by})" if by else ""),
            _resolution,
            style="n detail",
        ),
        *_AFTER,
    )


_BEFORE: tuple[Heading, ...] = (
    Heading("dataset", "data set", "data set", lambda s: _name(s.cell.name.dataset), style="", filtered=True),
    Heading("split", "split", "how it was split", lambda s: _name(s.cell.name.split), style="detail"),
    Heading("backbone", "backbone", "backbone", lambda s: _name(s.cell.name.backbone), style="", filtered=True),
    Heading("label", "label", "what is predicted", lambda s: _name(s.cell.name.label), style="", filtered=True),
    Heading(
        "budget",
        "budget",
        "bytes asked for, as a fraction of the fp32 table or a size; empty: the method takes none",
        _budget,
        filtered=True,
    ),
    Heading("method", "method", "method, as labelled in the suite", lambda s: _name(s.cell.name.method), style=""),
    Heading(
        "rank",
        "rank",
        "among the methods of the same budget; shared where seeds cannot tell them apart; none for fewer than 3 seeds",
        _rank,
    ),
)

_AFTER: tuple[Heading, ...] = (
    Heading("bytes", "bytes", "of the packed table", lambda s: _figure(s.cell.mean_of(lambda r: r.bytes), size)),
    Heading(
        "bytes_ratio",
        "of fp32",
        "bytes relative to the fp32 table",
        lambda s: _figure(s.cell.mean_of(lambda r: r.bytes_ratio), percent),
    ),
    Heading(
        "lookups",
        "lookups",
        "lookups per second relative to the fp32 table in the same measurement",
        lambda s: _speed(s.cell, s.cell.lookup_ratio),
    ),
    Heading(
        "model",
        "model",
        "samples per second of the whole model relative to the same with the fp32 table",
        lambda s: _speed(s.cell, s.cell.median_ratio(lambda speed: speed.model_ratio_fp32)),
        style="n detail",
    ),
    Heading(
        "train",
        "training",
        "time of every training stage, the shared full-precision model included",
        lambda s: _figure(s.cell.mean_cost(lambda cost: cost.seconds), duration),
        style="n detail",
    ),
    Heading("seeds", "seeds", "seeds that are ok, of those that were run", _seeds),
    Heading("remarks", "remarks", "failures, and what makes a row less comparable", _remarks, style="text"),
)


class Row(NamedTuple):
    """A row of the leaderboard: an entry for each heading."""

    entries: list[Entry]
    picture: Drawn | None
    standing: Standing


def row_of(standing: Standing, shown: Sequence[Heading]) -> Row:
    return Row([heading.entry(standing) for heading in shown], drawn(standing), standing)


def run_headings(title: str) -> tuple[str, ...]:
    """Of the table of a method's runs; ``title`` is that of the primary metric."""
    names = ("data set", "backbone", "budget", "seed", "status")
    return (*names, title, "bytes", "epochs", "seconds", "started", "run")


def run_entries(run: FinishedRun) -> list[str | float | None]:
    """A run of a method, an entry for each of :func:`run_headings`."""
    result, metric = run.result, run.result.metric
    return [
        result.dataset,
        result.backbone,
        result.budget or "",
        result.seed,
        result.status,
        ", ".join(
            f"{label} {metric.text(values[metric.name])}"
            for label, values in result.quality.items()
            if metric.name in values
        ),
        result.bytes,
        result.training.epochs if result.training else None,
        round(result.seconds, 1),
        result.started,
        result.key,
    ]
