"""The columns of ``leaderboard.csv``: name, meaning and value, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from sharkbench.leaderboard.cells import Cell
from sharkbench.leaderboard.standings import Standing
from sharkbench.leaderboard.statistics import Interval
from sharkbench.results.metrics import Metric
from sharkbench.results.records import Speed, Timing, TrainingCost

Value = str | int | float | bool | None
Tasks = Mapping[str, Sequence[Metric]]
"""The metrics of each task, by task name."""
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table. ``value`` returns ``None`` for a row without this value; its cell in the file is empty."""

    name: str
    meaning: str
    value: Callable[[Any], Value]
    """Value of the row, or of the part of the row that ``of`` returns."""
    of: Callable[[Row], object] | None = None
    """The part of the row that determines the value; ``value`` is called once per distinct part. A row without the part
    has no value."""


def table_of(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> dict[str, list[Value]]:
    """The values of every row, by column name, in the order of ``rows``."""
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
    """The distinct objects, and the index of each of ``parts`` among them."""
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
        "single-id lookups per second on one thread, with the ids and table sizes of the data set",
        True,
        _timing(lambda s: s.own_size, lambda t: t.per_second),
    ),
    (
        "lookups_ratio_torch",
        "this rate divided by that of `torch.nn.functional.embedding` on the fp32 table",
        False,
        _timing(lambda s: s.own_size, lambda t: t.ratio_torch),
    ),
    (
        "lookups_ratio_fp32",
        "this rate divided by that of this project's kernel on the fp32 table",
        False,
        _timing(lambda s: s.own_size, lambda t: t.ratio_fp32),
    ),
    (
        "large_rows",
        "number of rows of the largest table timed",
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
        "this rate divided by that of `torch.nn.functional.embedding` on an fp32 table of the same size",
        False,
        _timing(lambda s: s.production_size, lambda t: t.ratio_torch),
    ),
    (
        "large_lookups_ratio_fp32",
        "this rate divided by that of this project's kernel on an fp32 table of the same size",
        False,
        _timing(lambda s: s.production_size, lambda t: t.ratio_fp32),
    ),
    (
        "model_samples_per_second",
        "samples per second of the whole model: packed layer and backbone",
        True,
        lambda speed: speed.model_samples_per_second,
    ),
    (
        "model_ratio_fp32",
        "this rate divided by that of the same backbone with the fp32 table",
        False,
        lambda speed: speed.model_ratio_fp32,
    ),
    (
        "large_model_samples_per_second",
        "samples per second of the whole model, with the table of `large_rows` rows",
        True,
        lambda speed: speed.large_model_samples_per_second,
    ),
    (
        "large_model_ratio_fp32",
        "this rate divided by that of the same backbone with an fp32 table of the same size",
        False,
        lambda speed: speed.large_model_ratio_fp32,
    ),
)

COSTS: tuple[tuple[str, str, Callable[[TrainingCost], float]], ...] = (
    (
        "train_seconds",
        "wall time of all training stages in seconds, including the shared full-precision model",
        lambda c: c.seconds,
    ),
    ("train_samples_per_second", "training samples per second over these stages", lambda c: c.samples_per_second),
    ("train_peak_bytes", "peak memory of training in bytes", lambda c: c.peak_memory_bytes),
    ("train_epochs", "epochs, summed over all stages", lambda c: c.epochs),
)


def _cell_speed(value: Callable[[Speed], float | None], rate: bool) -> Callable[[Cell], Value]:
    return lambda cell: cell.median_rate(value) if rate else cell.median_ratio(value)


def _cell_cost(value: Callable[[TrainingCost], float]) -> Callable[[Cell], Value]:
    return lambda cell: cell.mean_cost(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


_TASK: Column[Cell] = Column("task", "task", lambda c: c.name.task)
NAMES: tuple[Column[Cell], ...] = (
    Column("dataset", "data set", lambda c: c.name.dataset),
    Column("split", "kind of split: random, temporal or given", lambda c: c.name.split),
    Column("backbone", "backbone", lambda c: c.name.backbone),
    Column("method", "method, as labelled in the suite", lambda c: c.name.method),
    Column("label", "predicted label", lambda c: c.name.label),
    Column(
        "budget",
        "memory budget: a fraction of the fp32 table or a size; empty for methods without a budget",
        lambda c: c.name.budget,
    ),
)

_BEFORE: tuple[Column[Cell], ...] = (
    *NAMES,
    Column("status", "`ok`, `partial` (some seeds failed), `infeasible` or `failed`", lambda c: c.status),
    Column("reason", "reason for a status other than `ok`", lambda c: c.reason),
    Column(
        "code_state",
        "`fresh`: computed by the present code; `verified`: by earlier code that `sharkbench verify` found to give the "
        "same results; `stale`: neither",
        lambda c: c.state,
    ),
    Column("bytes", "bytes of the packed layer, mean over seeds", lambda c: _whole(c.mean_of(lambda r: r.bytes))),
    Column("bytes_ratio", "bytes divided by those of the fp32 table", lambda c: c.mean_of(lambda r: r.bytes_ratio)),
    Column(
        "param_ratio",
        "number of stored values divided by that of the fp32 table",
        lambda c: c.mean_of(lambda r: r.param_ratio),
    ),
)

_AFTER: tuple[Column[Cell], ...] = (
    Column("n_seeds", "number of seeds with status `ok`; the figures are computed over these", lambda c: len(c.ok)),
    Column("n_failed", "number of seeds that failed or were infeasible", lambda c: c.n_failed),
    *(Column(name, f"{meaning}; median over seeds", _cell_speed(value, rate)) for name, meaning, rate, value in SPEEDS),
    Column(
        "other_cpu_percent",
        "CPU use of other processes during the timing, in percent of one core; maximum over seeds",
        lambda c: max((run.speed.other_cpu_percent for run in c.ok if run.speed), default=None),
    ),
    *(Column(name, f"{meaning}; mean over seeds", _cell_cost(value)) for name, meaning, value in COSTS),
)


def _of_primary(metric: Metric) -> tuple[list[Column[Cell]], list[Column[Standing]], Column[Standing]]:
    """Columns of a primary metric: of the cell, of its difference to fp32, and the resolution of the test split. They
    are empty in rows with another primary metric."""

    def of_cell(value: Callable[[Cell], Value]) -> Callable[[Cell], Value]:
        return lambda cell: value(cell) if cell.metric.name == metric.name else None

    def of_standing(value: Callable[[Standing], Value]) -> Callable[[Standing], Value]:
        return lambda standing: value(standing) if standing.cell.metric.name == metric.name else None

    def interval(value: Callable[[Interval], float]) -> Callable[[Standing], Value]:
        return of_standing(lambda s: value(s.difference.interval) if s.difference and s.difference.interval else None)

    name, title = metric.name, metric.title
    cell: list[Column[Cell]] = [
        Column(f"{name}_mean", f"test {title} with the packed layer, mean over seeds", _mean_of(name)),
        Column(f"{name}_std", "its standard deviation over seeds; empty for fewer than two seeds", of_cell(_STD)),
        Column(
            f"{name}_delta",
            f"{title} minus that of the fp32 table with the same seed, mean over seeds",
            of_cell(_DELTA),
        ),
    ]
    difference: list[Column[Standing]] = [
        Column(
            f"{name}_delta_low",
            "lower end of the 95% confidence interval of that difference; empty for fewer than three seeds",
            interval(lambda interval: interval.low),
        ),
        Column(f"{name}_delta_high", "upper end of that interval", interval(lambda interval: interval.high)),
        Column(
            f"{name}_delta_p",
            "p-value of the paired t-test for that difference, corrected (Holm) for the methods of the same budget",
            of_standing(lambda s: s.p_holm),
        ),
    ]
    return (
        cell,
        difference,
        Column(
            f"{name}_resolution",
            f"smallest difference to fp32 that is significant with the {metric.units} of the test split",
            of_standing(lambda s: s.resolution),
        ),
    )


_STD, _DELTA = attrgetter("value_std"), attrgetter("value_delta")
_RANK: Column[Standing] = Column(
    "rank",
    "rank among the methods of the same budget, shared if seeds show no significant difference; empty for fewer than "
    "three seeds",
    lambda s: s.rank,
)
_REMARKS: Column[Standing] = Column(
    "remarks",
    "warnings about the comparability of the row",
    lambda s: "; ".join(remark.text for remark in s.remarks) or None,
)


_cell_of = attrgetter("cell")


def _lifted(column: Column[Cell]) -> Column[Standing]:
    return Column(column.name, column.meaning, column.value, _cell_of)


def _mean_of(name: str) -> Callable[[Cell], Value]:
    return lambda cell: cell.mean(name)


def metrics_of(cells: Iterable[Cell]) -> dict[str, tuple[Metric, ...]]:
    """Metrics by task, in the order in which tasks first appear; older runs may lack some of them."""
    found: dict[str, dict[str, Metric]] = {}
    for cell in cells:
        found.setdefault(cell.name.task, {}).update((metric.name, metric) for metric in cell.metrics)
    return {task: tuple(metrics.values()) for task, metrics in found.items()}


def distinct(tasks: Tasks, kept: Callable[[Metric], bool]) -> list[Metric]:
    """The metrics of all tasks for which ``kept`` is true, each name once."""
    return list({metric.name: metric for metrics in tasks.values() for metric in metrics if kept(metric)}.values())


def name_columns(tasks: Tasks) -> tuple[Column[Cell], ...]:
    """The columns that identify a row; the task is one of them if there are several tasks."""
    return (_TASK, *NAMES) if len(tasks) > 1 else NAMES


def leaderboard_columns(tasks: Tasks) -> tuple[Column[Standing], ...]:
    """The columns of a leaderboard whose tasks have those metrics."""
    primary = [_of_primary(metric) for metric in distinct(tasks, lambda metric: metric.primary)]
    ranking = {metric.name for metrics in tasks.values() for metric in metrics if metric.primary}
    others = distinct(tasks, lambda metric: metric.monitored and metric.name not in ranking)
    return (
        *([_lifted(_TASK)] if len(tasks) > 1 else []),
        *map(_lifted, _BEFORE),
        *(_lifted(column) for cell, _, _ in primary for column in cell),
        *(column for _, difference, _ in primary for column in difference),
        _RANK,
        *(resolution for _, _, resolution in primary),
        _REMARKS,
        *(_lifted(Column(f"{m.name}_mean", f"test {m.title}, mean over seeds", _mean_of(m.name))) for m in others),
        *map(_lifted, _AFTER),
    )
