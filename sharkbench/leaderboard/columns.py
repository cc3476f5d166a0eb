"""The columns of ``leaderboard.csv``: name, meaning, value. Their order is the order in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from sharkbench.leaderboard.cells import Cell
from sharkbench.leaderboard.standings import Standing
from sharkbench.leaderboard.statistics import Interval
from sharkbench.results.records import Speed, Timing, TrainingCost

Value = str | int | float | bool | None
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """``value`` returns ``None`` where a row has nothing to say; the file then has an empty cell."""

    name: str
    meaning: str
    value: Callable[[Any], Value]
    """Of the row, or of the part of it that ``of`` names."""
    of: Callable[[Row], object] | None = None
    """The part that alone decides the value: where rows share it, it is asked once. A row without it has no value."""


def table_of(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> dict[str, list[Value]]:
    """Columns by name: the values of every row, in the order of ``rows``."""
    parts = {of: _distinct([of(row) for row in rows]) for of in {column.of for column in columns} if of is not None}
    table = {}
    for column in columns:
        if column.of is None:
            table[column.name] = list(map(column.value, rows))
        else:
            different, whose = parts[column.of]
            found = [None if part is None else column.value(part) for part in different]
            table[column.name] = [found[place] for place in whose]
    return table


def _distinct(parts: list[object]) -> tuple[list[object], list[int]]:
    """Every object once, and for each of ``parts`` its place among them."""
    places: dict[int, int] = {}
    whose = [places.setdefault(id(part), len(places)) for part in parts]
    different = list({id(part): part for part in parts}.values())
    return different, whose


def _timing(
    pick: Callable[[Speed], Timing | None], value: Callable[[Timing], float]
) -> Callable[[Speed], float | None]:
    return lambda speed: value(timing) if (timing := pick(speed)) else None


SPEEDS: tuple[tuple[str, str, bool, Callable[[Speed], float | None]], ...] = (
    (
        "lookups_per_second",
        "single-id lookups per second, the data's own ids and size, one thread",
        True,
        _timing(lambda s: s.own_size, lambda t: t.per_second),
    ),
    (
        "lookups_ratio_torch",
        "the same, relative to `torch.nn.functional.embedding` on the fp32 table",
        False,
        _timing(lambda s: s.own_size, lambda t: t.ratio_torch),
    ),
    (
        "lookups_ratio_fp32",
        "the same, relative to this project's kernel on the fp32 table",
        False,
        _timing(lambda s: s.own_size, lambda t: t.ratio_fp32),
    ),
    (
        "large_rows",
        "rows of the largest table that was timed",
        False,
        _timing(lambda s: s.production_size, lambda t: t.rows),
    ),
    (
        "large_lookups_per_second",
        "lookups per second on that table",
        True,
        _timing(lambda s: s.production_size, lambda t: t.per_second),
    ),
    (
        "large_lookups_ratio_torch",
        "the same, relative to `torch.nn.functional.embedding` on an fp32 table as large",
        False,
        _timing(lambda s: s.production_size, lambda t: t.ratio_torch),
    ),
    (
        "large_lookups_ratio_fp32",
        "the same, relative to this project's kernel on an fp32 table as large",
        False,
        _timing(lambda s: s.production_size, lambda t: t.ratio_fp32),
    ),
    (
        "model_samples_per_second",
        "samples per second through packed layer and backbone",
        True,
        lambda speed: speed.model_samples_per_second,
    ),
    (
        "model_ratio_fp32",
        "the same, relative to the same backbone behind the fp32 table",
        False,
        lambda speed: speed.model_ratio_fp32,
    ),
    (
        "large_model_samples_per_second",
        "samples per second through packed layer and backbone, the table as large as above",
        True,
        lambda speed: speed.large_model_samples_per_second,
    ),
    (
        "large_model_ratio_fp32",
        "the same, relative to the same backbone behind an fp32 table as large",
        False,
        lambda speed: speed.large_model_ratio_fp32,
    ),
)

COSTS: tuple[tuple[str, str, Callable[[TrainingCost], float]], ...] = (
    (
        "train_seconds",
        "wall time of every training stage, the shared full-precision model included",
        lambda c: c.seconds,
    ),
    ("train_samples_per_second", "samples per second over those stages", lambda c: c.samples_per_second),
    ("train_peak_bytes", "peak memory in training", lambda c: c.peak_memory_bytes),
    ("train_epochs", "epochs over all stages", lambda c: c.epochs),
)


def _cell_speed(value: Callable[[Speed], float | None], rate: bool) -> Callable[[Cell], Value]:
    return lambda cell: cell.median_rate(value) if rate else cell.median_ratio(value)


def _cell_cost(value: Callable[[TrainingCost], float]) -> Callable[[Cell], Value]:
    return lambda cell: cell.mean_cost(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


CELL: tuple[Column[Cell], ...] = (
    Column("dataset", "data set", lambda c: c.name.dataset),
    Column("split", "how it was split: random, temporal or given", lambda c: c.name.split),
    Column("backbone", "backbone", lambda c: c.name.backbone),
    Column("method", "method, as labelled in the suite", lambda c: c.name.method),
    Column("label", "label that is predicted", lambda c: c.name.label),
    Column("budget", "bytes asked for: a fraction of fp32 or a size; empty: takes no budget", lambda c: c.name.budget),
    Column("status", "`ok`, `partial` (some seeds failed), `infeasible` or `failed`", lambda c: c.status),
    Column("reason", "why, where it is not `ok`", lambda c: c.reason),
    Column(
        "code_state",
        "`fresh`: by the present code; `verified`: by earlier code, shown to come to the same; `stale`: neither",
        lambda c: c.state,
    ),
    Column("bytes", "bytes of the packed layer, mean over seeds", lambda c: _whole(c.mean_of(lambda r: r.bytes))),
    Column("bytes_ratio", "the same, relative to the fp32 table", lambda c: c.mean_of(lambda r: r.bytes_ratio)),
    Column(
        "param_ratio",
        "stored numbers, relative to those of the fp32 table",
        lambda c: c.mean_of(lambda r: r.param_ratio),
    ),
    Column("auc_mean", "test AUC through the packed layer, mean over seeds", lambda c: c.auc_mean),
    Column("auc_std", "its standard deviation over seeds; empty for fewer than two", lambda c: c.auc_std),
    Column("auc_delta", "AUC minus that of the fp32 table with the same seed, mean over seeds", lambda c: c.auc_delta),
    Column("logloss_mean", "test log loss, mean over seeds", lambda c: c.mean(lambda q: q.logloss)),
    Column("n_seeds", "seeds that are ok, and that the figures are of", lambda c: len(c.ok)),
    Column("n_failed", "seeds that failed or were infeasible", lambda c: c.n_failed),
    *(Column(name, f"{meaning}; median over seeds", _cell_speed(value, rate)) for name, meaning, rate, value in SPEEDS),
    Column(
        "other_cpu_percent",
        "CPU that other processes used while it was timed, in percent of one core; largest over seeds",
        lambda c: max((run.speed.other_cpu_percent for run in c.ok if run.speed), default=None),
    ),
    *(Column(name, f"{meaning}; mean over seeds", _cell_cost(value)) for name, meaning, value in COSTS),
)


def _interval(value: Callable[[Interval], float]) -> Callable[[Standing], Value]:
    def found(standing: Standing) -> Value:
        interval = standing.difference.interval if standing.difference else None
        return value(interval) if interval else None

    return found


_STANDING: tuple[Column[Standing], ...] = (
    Column(
        "auc_delta_low",
        "lower end of the 95% interval of that difference over seeds; empty for fewer than three",
        _interval(lambda interval: interval.low),
    ),
    Column("auc_delta_high", "upper end of it", _interval(lambda interval: interval.high)),
    Column(
        "auc_delta_p",
        "paired t-test of no difference, corrected (Holm) for the methods of the same budget",
        lambda s: s.p_holm,
    ),
    Column(
        "rank",
        "among the methods of the same budget, shared where seeds cannot tell; empty for fewer than three seeds",
        lambda s: s.rank,
    ),
    Column(
        "auc_resolution",
        "smallest difference to fp32 that the rows of the test split can show",
        lambda s: s.resolution,
    ),
    Column(
        "remarks",
        "what makes the row less comparable than it looks",
        lambda s: "; ".join(remark.text for remark in s.remarks) or None,
    ),
)


_cell_of = attrgetter("cell")


def _lifted(column: Column[Cell]) -> Column[Standing]:
    return Column(column.name, column.meaning, column.value, _cell_of)


_BEFORE = next(index for index, column in enumerate(CELL, start=1) if column.name == "auc_delta")
LEADERBOARD: tuple[Column[Standing], ...] = (
    *map(_lifted, CELL[:_BEFORE]),
    *_STANDING,
    *map(_lifted, CELL[_BEFORE:]),
)
