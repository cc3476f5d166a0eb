"""The columns of ``leaderboard.csv`` and ``runs.csv``: name, meaning, value. Their order is the order in the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sharkbench.leaderboard.cells import Cell, FinishedRun, why
from sharkbench.leaderboard.speeds import own_size, production_size
from sharkbench.leaderboard.standings import Standing
from sharkbench.leaderboard.statistics import Interval
from sharkbench.store import Environment, Quality, Result, Speed, Timing, TrainingCost

Value = str | int | float | bool | None
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """``value`` returns ``None`` where a row has nothing to say; the file then has an empty cell."""

    name: str
    meaning: str
    value: Callable[[Row], Value]


def _timing(
    pick: Callable[[Speed], Timing | None], value: Callable[[Timing], float]
) -> Callable[[Speed], float | None]:
    return lambda speed: value(timing) if (timing := pick(speed)) else None


_SPEEDS: tuple[tuple[str, str, bool, Callable[[Speed], float | None]], ...] = (
    (
        "lookups_per_second",
        "single-id lookups per second, the data's own ids and size, one thread",
        True,
        _timing(own_size, lambda t: t.per_second),
    ),
    (
        "lookups_ratio_torch",
        "the same, relative to `torch.nn.functional.embedding` on the fp32 table",
        False,
        _timing(own_size, lambda t: t.ratio_torch),
    ),
    (
        "lookups_ratio_fp32",
        "the same, relative to this project's kernel on the fp32 table",
        False,
        _timing(own_size, lambda t: t.ratio_fp32),
    ),
    (
        "large_rows",
        "rows of the largest table that was timed",
        False,
        _timing(production_size, lambda t: t.rows),
    ),
    (
        "large_lookups_per_second",
        "lookups per second on that table",
        True,
        _timing(production_size, lambda t: t.per_second),
    ),
    (
        "large_lookups_ratio_torch",
        "the same, relative to `torch.nn.functional.embedding` on an fp32 table as large",
        False,
        _timing(production_size, lambda t: t.ratio_torch),
    ),
    (
        "large_lookups_ratio_fp32",
        "the same, relative to this project's kernel on an fp32 table as large",
        False,
        _timing(production_size, lambda t: t.ratio_fp32),
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

_COSTS: tuple[tuple[str, str, Callable[[TrainingCost], float]], ...] = (
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


_CELL: tuple[Column[Cell], ...] = (
    Column("dataset", "data set", lambda c: c.name.dataset),
    Column("split", "how it was split: random, temporal or given", lambda c: c.name.split),
    Column("backbone", "backbone", lambda c: c.name.backbone),
    Column("method", "method, as labelled in the suite", lambda c: c.name.method),
    Column("label", "label that is predicted", lambda c: c.name.label),
    Column("budget", "bytes asked for: a fraction of fp32 or a size; empty: takes no budget", lambda c: c.name.budget),
    Column("status", "`ok`, `partial` (some seeds failed), `infeasible` or `failed`", lambda c: c.status),
    Column("reason", "why, where it is not `ok`", lambda c: c.reason),
    Column("bytes", "bytes of the packed layer, mean over seeds", lambda c: _whole(c.mean_of(lambda r: r.bytes))),
    Column("bytes_ratio", "the same, relative to the fp32 table", lambda c: c.mean_of(lambda r: r.bytes_ratio)),
    Column(
        "param_ratio",
        "stored numbers, relative to those of the fp32 table",
        lambda c: c.mean_of(lambda r: r.param_ratio),
    ),
    Column("auc_mean", "test AUC through the packed layer, mean over seeds", lambda c: c.mean(lambda q: q.auc)),
    Column("auc_std", "its standard deviation over seeds; empty for fewer than two", lambda c: c.auc_std),
    Column("auc_delta", "AUC minus that of the fp32 table with the same seed, mean over seeds", lambda c: c.auc_delta),
    Column("logloss_mean", "test log loss, mean over seeds", lambda c: c.mean(lambda q: q.logloss)),
    Column("n_seeds", "seeds that are ok, and that the figures are of", lambda c: len(c.ok)),
    Column("n_failed", "seeds that failed or were infeasible", lambda c: c.n_failed),
    *(
        Column(name, f"{meaning}; median over seeds", _cell_speed(value, rate))
        for name, meaning, rate, value in _SPEEDS
    ),
    *(Column(name, f"{meaning}; mean over seeds", _cell_cost(value)) for name, meaning, value in _COSTS),
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
    Column("remarks", "what makes the row less comparable than it looks", lambda s: "; ".join(s.remarks) or None),
)


def _lifted(column: Column[Cell]) -> Column[Standing]:
    return Column(column.name, column.meaning, lambda standing: column.value(standing.cell))


_BEFORE = next(index for index, column in enumerate(_CELL, start=1) if column.name == "auc_delta")
LEADERBOARD: tuple[Column[Standing], ...] = (
    *map(_lifted, _CELL[:_BEFORE]),
    *_STANDING,
    *map(_lifted, _CELL[_BEFORE:]),
)

Run = tuple[Cell, FinishedRun]


def run_rows(standings: Iterable[Standing]) -> list[Run]:
    """The rows of ``runs.csv``: every run of every cell, superseded ones too."""
    cells = [standing.cell for standing in standings]
    return [(cell, run) for cell in cells for run in (*cell.runs, *cell.superseded)]


def _quality(value: Callable[[Quality], float | None], *, valid: bool = False) -> Callable[[Run], Value]:
    def found(row: Run) -> Value:
        cell, run = row
        quality = (run.result.quality_valid if valid else run.result.quality).get(cell.name.label)
        return value(quality) if quality else None

    return found


def _speed(value: Callable[[Speed], float | None]) -> Callable[[Run], Value]:
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
        for column in _CELL[:6]
    ),
    Column(
        "seed", "seed; runs with the same one share split, batch order and first weights", _result(lambda r: r.seed)
    ),
    Column("status", "`ok`, `infeasible` or `failed`", _result(lambda r: r.status)),
    Column("reason", "why, where it is not `ok`", _result(lambda r: None if r.status == "ok" else why(r))),
    Column(
        "superseded",
        "`true`: a newer run of the cell has another recipe, data or method code, and this one is in no mean",
        lambda row: row[1] in row[0].superseded,
    ),
    Column("bytes", "bytes of the packed layer", _result(lambda r: r.bytes)),
    Column("bytes_ratio", "the same, relative to the fp32 table", _result(lambda r: r.bytes_ratio)),
    Column("param_ratio", "stored numbers, relative to those of the fp32 table", _result(lambda r: r.param_ratio)),
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
    *(Column(name, meaning, _speed(value)) for name, meaning, _, value in _SPEEDS),
    Column(
        "other_cpu_percent",
        "CPU that other processes used during the measurement",
        _speed(lambda s: s.other_cpu_percent),
    ),
    *(Column(name, meaning, _cost(value)) for name, meaning, value in _COSTS),
    Column("seconds", "wall time of the whole run", _result(lambda r: r.seconds)),
    Column("started", "when it began", _result(lambda r: r.started)),
    Column("method_name", "method", _result(lambda r: r.method)),
    Column("method_version", "declared version and a digest of its code", _result(lambda r: r.method_version)),
    Column("method_config", "its settings as JSON", _result(lambda r: json.dumps(r.method_config, sort_keys=True))),
    Column("dimension", "embedding dimension", _result(lambda r: r.dimension)),
    Column("budget_bytes", "bytes allowed", _result(lambda r: r.budget_bytes)),
    Column("fp32_bytes", "bytes of the fp32 table", _result(lambda r: r.fp32_bytes)),
    Column("backbone_bytes", "bytes of the backbone, the table not included", _result(lambda r: r.backbone_bytes)),
    Column("formats", "formats of the packed layer", _result(lambda r: " ".join(r.formats))),
    Column(
        "data_fingerprint",
        "of the prepared data: source bytes, settings, encoder",
        _result(lambda r: r.data_fingerprint),
    ),
    Column("sharkbench", "version of this package", _environment(lambda e: e.sharkbench)),
    Column("git_revision", "revision of the code, where it is a git checkout", _environment(lambda e: e.git_revision)),
    Column("git_dirty", "whether tracked files differed from that revision", _environment(lambda e: e.git_dirty)),
    Column("python", "version of Python", _environment(lambda e: e.python)),
    Column("packages", "versions of the packages that matter", _environment(lambda e: _pairs(e.packages))),
    Column("platform", "operating system and architecture", _environment(lambda e: e.platform)),
    Column("cpu", "processor", _environment(lambda e: e.cpu)),
    Column("cores", "CPU cores that the run could use", _environment(lambda e: e.cores)),
    Column("memory_bytes", "memory of the machine", _environment(lambda e: e.memory_bytes)),
    Column("gpus", "GPUs that the run could see", _environment(lambda e: "; ".join(e.gpus))),
    Column("threads", "CPU threads that the run used", _environment(lambda e: e.threads)),
    Column("kernels", "which implementation of each kernel ran", _environment(lambda e: _pairs(e.kernels))),
    Column(
        "speed_hardware",
        "what the speeds were measured on",
        lambda row: row[1].speed.hardware if row[1].speed else None,
    ),
    Column(
        "speed_kernels",
        "which kernels were timed",
        lambda row: _pairs(row[1].speed.kernels) if row[1].speed else None,
    ),
    Column("invocation", "shared by the runs of one `sharkbench run`", _environment(lambda e: e.invocation)),
    Column("suite", "suite", _result(lambda r: r.suite)),
    Column("key", "names the run's directory under `runs/`", _result(lambda r: r.key)),
)
