"""The columns of ``runs.csv``: name, meaning and value, in the order of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from sharkbench.leaderboard.cells import Cell, FinishedRun, why
from sharkbench.leaderboard.columns import COSTS, SPEEDS, Column, Tasks, Value, distinct, name_columns
from sharkbench.leaderboard.standings import Standing
from sharkbench.results.metrics import Metric
from sharkbench.results.records import BUSY_PERCENT, Environment, Result, Speed, TrainingCost

Run = tuple[Cell, FinishedRun]


def run_rows(standings: Iterable[Standing]) -> list[Run]:
    """The rows of ``runs.csv``: every run of every cell, including superseded runs; a run has one row per label."""
    cells = [standing.cell for standing in standings]
    return [(cell, run) for cell in cells for run in (*cell.runs, *cell.superseded)]


def _cell(row: Run) -> Cell:
    return row[0]


def _result(row: Run) -> Result:
    return row[1].result


def _speed(row: Run) -> Speed | None:
    return row[1].speed


def _cost(row: Run) -> TrainingCost | None:
    return row[1].result.training


def _environment(row: Run) -> Environment | None:
    return row[1].environment


def _test(row: Run) -> Mapping[str, float] | None:
    return row[1].result.quality.get(row[0].name.label)


def _valid(row: Run) -> Mapping[str, float] | None:
    return row[1].result.quality_valid.get(row[0].name.label)


def _pairs(pairs: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(pairs.items()))


def _value_of(metric: Metric) -> Callable[[Mapping[str, float]], Value]:
    return lambda values: values.get(metric.name)


def _pack_gap(row: Run) -> Value:
    return row[1].result.pack_gap.get(row[0].name.label, {}).get(row[0].metric.name)


def run_columns(tasks: Tasks) -> tuple[Column[Run], ...]:
    """The columns of runs whose tasks have those metrics."""
    primary = " or ".join(metric.title for metric in distinct(tasks, lambda metric: metric.primary))
    packed = {True: " with the packed layer", False: ""}
    return (
        *(Column(column.name, column.meaning, column.value, _cell) for column in name_columns(tasks)),
        *_BEFORE,
        *(
            Column(m.name, m.meaning or f"test {m.title}{packed[m.primary]}", _value_of(m), _test)
            for m in distinct(tasks, lambda metric: True)
        ),
        *(
            Column(f"valid_{m.name}", f"validation {m.title}{packed[m.primary]}", _value_of(m), _valid)
            for m in distinct(tasks, lambda metric: metric.monitored)
        ),
        Column(
            "pack_gap",
            f"validation {primary} with the packed layer minus that before packing",
            _pack_gap,
        ),
        *_AFTER,
    )


_BEFORE: tuple[Column[Run], ...] = (
    Column("seed", "seed; runs with equal seeds share batch order and initial weights", attrgetter("seed"), _result),
    Column("status", "`ok`, `infeasible` or `failed`", attrgetter("status"), _result),
    Column("reason", "reason for a status other than `ok`", lambda r: None if r.status == "ok" else why(r), _result),
    Column(
        "superseded",
        "`true`: a newer run of the cell has another recipe, data or method code; this run is excluded from all means",
        lambda row: row[1] in row[0].superseded,
    ),
    Column("bytes", "bytes of the packed layer", attrgetter("bytes"), _result),
    Column("bytes_ratio", "bytes divided by those of the fp32 table", attrgetter("bytes_ratio"), _result),
    Column(
        "param_ratio",
        "number of stored values divided by that of the fp32 table",
        attrgetter("param_ratio"),
        _result,
    ),
)

_AFTER: tuple[Column[Run], ...] = (
    *(Column(name, meaning, value, _speed) for name, meaning, _, value in SPEEDS),
    Column(
        "other_cpu_percent",
        "CPU use of other processes during the timing, in percent of one core",
        attrgetter("other_cpu_percent"),
        _speed,
    ),
    Column(
        "timed_on_a_busy_machine",
        f"`true`: `other_cpu_percent` exceeded {BUSY_PERCENT:g} in every attempt, so the speeds may be inaccurate",
        attrgetter("busy"),
        _speed,
    ),
    *(Column(name, meaning, value, _cost) for name, meaning, value in COSTS),
    Column("seconds", "wall time of the whole run in seconds", attrgetter("seconds"), _result),
    Column("started", "start time of the run", attrgetter("started"), _result),
    Column("method_name", "registered name of the method", attrgetter("method"), _result),
    Column("code", "digest of all project code that determines the results", attrgetter("code"), _result),
    Column(
        "code_state", "relation of that code to the present code, as in `leaderboard.csv`", lambda row: row[1].state
    ),
    Column(
        "speed_outdated",
        "`true`: formats or kernels have changed since the lookups were timed",
        lambda row: row[1].outdated if row[1].speed else None,
    ),
    Column(
        "method_config",
        "settings of the method as JSON",
        lambda r: json.dumps(r.method_config, sort_keys=True),
        _result,
    ),
    Column("dimension", "embedding dimension", attrgetter("dimension"), _result),
    Column("budget_bytes", "budget in bytes", attrgetter("budget_bytes"), _result),
    Column("fp32_bytes", "bytes of the fp32 table", attrgetter("fp32_bytes"), _result),
    Column("backbone_bytes", "bytes of the backbone without the table", attrgetter("backbone_bytes"), _result),
    Column("formats", "formats of the packed layer", lambda r: " ".join(r.formats), _result),
    Column(
        "data_fingerprint",
        "fingerprint of the data: source bytes and settings",
        attrgetter("data_fingerprint"),
        _result,
    ),
    Column("sharkbench", "version of sharkbench", attrgetter("sharkbench"), _environment),
    Column(
        "git_revision", "git revision of the code, if it is a git checkout", attrgetter("git_revision"), _environment
    ),
    Column("git_dirty", "whether tracked files differ from that revision", attrgetter("git_dirty"), _environment),
    Column("python", "Python version", attrgetter("python"), _environment),
    Column("packages", "versions of packages that can affect results", lambda e: _pairs(e.packages), _environment),
    Column("platform", "operating system and architecture", attrgetter("platform"), _environment),
    Column("cpu", "processor", attrgetter("cpu"), _environment),
    Column("cores", "CPU cores available to the run", attrgetter("cores"), _environment),
    Column("memory_bytes", "memory of the machine in bytes", attrgetter("memory_bytes"), _environment),
    Column("gpus", "GPUs visible to the run", lambda e: "; ".join(e.gpus), _environment),
    Column("threads", "CPU threads of the run", attrgetter("threads"), _environment),
    Column("kernels", "implementation of each kernel in the run", lambda e: _pairs(e.kernels), _environment),
    Column("speed_hardware", "hardware on which the speeds were measured", attrgetter("hardware"), _speed),
    Column("speed_kernels", "implementation of each kernel in the timing", lambda s: _pairs(s.kernels), _speed),
    Column("invocation", "ID shared by all runs of one `sharkbench run`", attrgetter("invocation"), _environment),
    Column("suite", "name of the suite", attrgetter("suite"), _result),
    Column("key", "run key: name of the run's directory under `runs/`", attrgetter("key"), _result),
)
