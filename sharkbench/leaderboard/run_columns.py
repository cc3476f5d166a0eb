"""The columns of ``runs.csv``: name, meaning, value. Their order is the order in the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

from sharkbench.leaderboard.cells import Cell, FinishedRun, why
from sharkbench.leaderboard.columns import CELL, COSTS, SPEEDS, Column, Value
from sharkbench.leaderboard.standings import Standing
from sharkbench.records import Environment, Quality, Result, Speed, TrainingCost

Run = tuple[Cell, FinishedRun]


class RunRows(tuple[Run, ...]):
    """Rows in which a run stands once for every label."""

    @cached_property
    def distinct(self) -> tuple[list[Run], list[int]]:
        """A row of every run, and for every row the place of its run among them."""
        places: dict[int, int] = {}
        firsts: list[Run] = []
        whose: list[int] = []
        for row in self:
            place = places.setdefault(id(row[1]), len(firsts))
            if place == len(firsts):
                firsts.append(row)
            whose.append(place)
        return firsts, whose


class _OfRun(Column[Run]):
    """What the run alone decides."""

    def values(self, rows: Sequence[Run]) -> list[Value]:
        """Of every row, worked out once for each run."""
        if not isinstance(rows, RunRows):
            return super().values(rows)
        firsts, whose = rows.distinct
        found = super().values(firsts)
        return [found[place] for place in whose]


def run_rows(standings: Iterable[Standing]) -> RunRows:
    """The rows of ``runs.csv``: every run of every cell, superseded ones too."""
    cells = [standing.cell for standing in standings]
    return RunRows((cell, run) for cell in cells for run in (*cell.runs, *cell.superseded))


def _quality(value: Callable[[Quality], float | None], *, valid: bool = False) -> Callable[[Run], Value]:
    def found(row: Run) -> Value:
        cell, run = row
        quality = (run.result.quality_valid if valid else run.result.quality).get(cell.name.label)
        return value(quality) if quality else None

    return found


def _speed(value: Callable[[Speed], Value]) -> Callable[[Run], Value]:
    return lambda row: value(row[1].speed) if row[1].speed else None


def _cost(value: Callable[[TrainingCost], float]) -> Callable[[Run], Value]:
    return lambda row: value(row[1].result.training) if row[1].result.training else None


def _environment(value: Callable[[Environment], Value]) -> Callable[[Run], Value]:
    return lambda row: value(row[1].environment) if row[1].environment else None


def _result(value: Callable[[Result], Value]) -> Callable[[Run], Value]:
    return lambda row: value(row[1].result)


def _pairs(pairs: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(pairs.items()))


RUNS: tuple[Column[Run], ...] = (
    *(
        Column(column.name, column.meaning, lambda row, value=column.value: value(row[0]))  # type: ignore[misc]
        for column in CELL[:6]
    ),
    _OfRun(
        "seed", "seed; runs with the same one share split, batch order and first weights", _result(lambda r: r.seed)
    ),
    _OfRun("status", "`ok`, `infeasible` or `failed`", _result(lambda r: r.status)),
    _OfRun("reason", "why, where it is not `ok`", _result(lambda r: None if r.status == "ok" else why(r))),
    Column(
        "superseded",
        "`true`: a newer run of the cell has another recipe, data or method code, and this one is in no mean",
        lambda row: row[1] in row[0].superseded,
    ),
    _OfRun("bytes", "bytes of the packed layer", _result(lambda r: r.bytes)),
    _OfRun("bytes_ratio", "the same, relative to the fp32 table", _result(lambda r: r.bytes_ratio)),
    _OfRun("param_ratio", "stored numbers, relative to those of the fp32 table", _result(lambda r: r.param_ratio)),
    Column("auc", "test AUC through the packed layer", _quality(lambda q: q.auc)),
    Column("logloss", "test log loss", _quality(lambda q: q.logloss)),
    Column(
        "normalized_entropy",
        "log loss, relative to that of the label's base rate",
        _quality(lambda q: q.normalized_entropy),
    ),
    Column("ece", "expected calibration error", _quality(lambda q: q.ece)),
    Column("gauc", "AUC within groups, where a group column is named", _quality(lambda q: q.gauc)),
    Column("valid_auc", "validation AUC through the packed layer", _quality(lambda q: q.auc, valid=True)),
    Column("valid_logloss", "validation log loss", _quality(lambda q: q.logloss, valid=True)),
    Column(
        "pack_gap",
        "validation AUC through the packed layer minus that of the weights it was packed from",
        lambda row: row[1].result.pack_gap.get(row[0].name.label),
    ),
    *(_OfRun(name, meaning, _speed(value)) for name, meaning, _, value in SPEEDS),
    _OfRun(
        "other_cpu_percent",
        "CPU that other processes used during the measurement",
        _speed(lambda s: s.other_cpu_percent),
    ),
    *(_OfRun(name, meaning, _cost(value)) for name, meaning, value in COSTS),
    _OfRun("seconds", "wall time of the whole run", _result(lambda r: r.seconds)),
    _OfRun("started", "when it began", _result(lambda r: r.started)),
    _OfRun("method_name", "method", _result(lambda r: r.method)),
    _OfRun("method_version", "declared version and a digest of its code", _result(lambda r: r.method_version)),
    _OfRun("method_config", "its settings as JSON", _result(lambda r: json.dumps(r.method_config, sort_keys=True))),
    _OfRun("dimension", "embedding dimension", _result(lambda r: r.dimension)),
    _OfRun("budget_bytes", "bytes allowed", _result(lambda r: r.budget_bytes)),
    _OfRun("fp32_bytes", "bytes of the fp32 table", _result(lambda r: r.fp32_bytes)),
    _OfRun("backbone_bytes", "bytes of the backbone, the table not included", _result(lambda r: r.backbone_bytes)),
    _OfRun("formats", "formats of the packed layer", _result(lambda r: " ".join(r.formats))),
    _OfRun(
        "data_fingerprint",
        "of the prepared data: source bytes, settings, encoder",
        _result(lambda r: r.data_fingerprint),
    ),
    _OfRun("sharkbench", "version of this package", _environment(lambda e: e.sharkbench)),
    _OfRun("git_revision", "revision of the code, where it is a git checkout", _environment(lambda e: e.git_revision)),
    _OfRun("git_dirty", "whether tracked files differed from that revision", _environment(lambda e: e.git_dirty)),
    _OfRun("python", "version of Python", _environment(lambda e: e.python)),
    _OfRun("packages", "versions of the packages that matter", _environment(lambda e: _pairs(e.packages))),
    _OfRun("platform", "operating system and architecture", _environment(lambda e: e.platform)),
    _OfRun("cpu", "processor", _environment(lambda e: e.cpu)),
    _OfRun("cores", "CPU cores that the run could use", _environment(lambda e: e.cores)),
    _OfRun("memory_bytes", "memory of the machine", _environment(lambda e: e.memory_bytes)),
    _OfRun("gpus", "GPUs that the run could see", _environment(lambda e: "; ".join(e.gpus))),
    _OfRun("threads", "CPU threads that the run used", _environment(lambda e: e.threads)),
    _OfRun("kernels", "which implementation of each kernel ran", _environment(lambda e: _pairs(e.kernels))),
    _OfRun("speed_hardware", "what the speeds were measured on", _speed(lambda s: s.hardware)),
    _OfRun("speed_kernels", "which kernels were timed", _speed(lambda s: _pairs(s.kernels))),
    _OfRun("invocation", "shared by the runs of one `sharkbench run`", _environment(lambda e: e.invocation)),
    _OfRun("suite", "suite", _result(lambda r: r.suite)),
    _OfRun("key", "names the run's directory under `runs/`", _result(lambda r: r.key)),
)
