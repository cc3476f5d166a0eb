"""The columns of ``runs.csv``: name, meaning, value. Their order is the order in the file."""

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
    """The rows of ``runs.csv``: every run of every cell, superseded ones too; a run stands once for every label."""
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
    """The columns for runs that have those metrics."""
    primary = " or ".join(metric.title for metric in distinct(tasks, lambda metric: metric.primary))
    packed = {True: " through the packed layer", False: ""}
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
            f"validation {primary} through the packed layer minus that of the weights it was packed from",
            _pack_gap,
        ),
        *_AFTER,
    )


_BEFORE: tuple[Column[Run], ...] = (
    Column(
        "seed", "seed; runs with the same one share split, batch order and first weights", attrgetter("seed"), _result
    ),
    Column("status", "`ok`, `infeasible` or `failed`", attrgetter("status"), _result),
    Column("reason", "why, where it is not `ok`", lambda r: None if r.status == "ok" else why(r), _result),
    Column(
        "superseded",
        "`true`: a newer run of the cell has another recipe, data or method code, and this one is in no mean",
        lambda row: row[1] in row[0].superseded,
    ),
    Column("bytes", "bytes of the packed layer", attrgetter("bytes"), _result),
    Column("bytes_ratio", "the same, relative to the fp32 table", attrgetter("bytes_ratio"), _result),
    Column("param_ratio", "stored numbers, relative to those of the fp32 table", attrgetter("param_ratio"), _result),
)

_AFTER: tuple[Column[Run], ...] = (
    *(Column(name, meaning, value, _speed) for name, meaning, _, value in SPEEDS),
    Column(
        "other_cpu_percent",
        "CPU that other processes used during the measurement, in percent of one core",
        attrgetter("other_cpu_percent"),
        _speed,
    ),
    Column(
        "timed_on_a_busy_machine",
        f"`true`: that was more than {BUSY_PERCENT:g}, however often it was tried, so the speeds may be wrong",
        attrgetter("busy"),
        _speed,
    ),
    *(Column(name, meaning, value, _cost) for name, meaning, value in COSTS),
    Column("seconds", "wall time of the whole run", attrgetter("seconds"), _result),
    Column("started", "when it began", attrgetter("started"), _result),
    Column("method_name", "method", attrgetter("method"), _result),
    Column("code", "digest of all own code that decided the outcome", attrgetter("code"), _result),
    Column("code_state", "what the present code has to do with it, as in `leaderboard.csv`", lambda row: row[1].state),
    Column(
        "speed_outdated",
        "`true`: formats or kernels have changed since its lookups were timed",
        lambda row: row[1].outdated if row[1].speed else None,
    ),
    Column("method_config", "its settings as JSON", lambda r: json.dumps(r.method_config, sort_keys=True), _result),
    Column("dimension", "embedding dimension", attrgetter("dimension"), _result),
    Column("budget_bytes", "bytes allowed", attrgetter("budget_bytes"), _result),
    Column("fp32_bytes", "bytes of the fp32 table", attrgetter("fp32_bytes"), _result),
    Column("backbone_bytes", "bytes of the backbone, the table not included", attrgetter("backbone_bytes"), _result),
    Column("formats", "formats of the packed layer", lambda r: " ".join(r.formats), _result),
    Column(
        "data_fingerprint",
        "of the data: source bytes and settings",
        attrgetter("data_fingerprint"),
        _result,
    ),
    Column("sharkbench", "version of this package", attrgetter("sharkbench"), _environment),
    Column(
        "git_revision", "revision of the code, where it is a git checkout", attrgetter("git_revision"), _environment
    ),
    Column("git_dirty", "whether tracked files differed from that revision", attrgetter("git_dirty"), _environment),
    Column("python", "version of Python", attrgetter("python"), _environment),
    Column("packages", "versions of the packages that matter", lambda e: _pairs(e.packages), _environment),
    Column("platform", "operating system and architecture", attrgetter("platform"), _environment),
    Column("cpu", "processor", attrgetter("cpu"), _environment),
    Column("cores", "CPU cores that the run could use", attrgetter("cores"), _environment),
    Column("memory_bytes", "memory of the machine", attrgetter("memory_bytes"), _environment),
    Column("gpus", "GPUs that the run could see", lambda e: "; ".join(e.gpus), _environment),
    Column("threads", "CPU threads that the run used", attrgetter("threads"), _environment),
    Column("kernels", "which implementation of each kernel ran", lambda e: _pairs(e.kernels), _environment),
    Column("speed_hardware", "what the speeds were measured on", attrgetter("hardware"), _speed),
    Column("speed_kernels", "which kernels were timed", lambda s: _pairs(s.kernels), _speed),
    Column("invocation", "shared by the runs of one `sharkbench run`", attrgetter("invocation"), _environment),
    Column("suite", "suite", attrgetter("suite"), _result),
    Column("key", "names the run's directory under `runs/`", attrgetter("key"), _result),
)
