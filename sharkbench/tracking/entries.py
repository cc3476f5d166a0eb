"""The parameters and metrics of a run in MLflow, with their names, by which users compare and plot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sharkbench.results.metrics import Metric, Quality
from sharkbench.results.records import Epoch, Result, Speed
from sharkbench.tracking import names

if TYPE_CHECKING:
    from mlflow.entities import Metric as Point


def milliseconds(moment: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 time."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def title(result: Result) -> str:
    """Name of the run."""
    budget = f" {result.budget}" if result.budget else ""
    told = f"{result.method_label}{budget} {result.backbone} {result.dataset} seed {result.seed}"
    return names.value(told, names.NAME_LENGTH)


def params(result: Result, settings: Mapping[str, Any]) -> dict[str, str]:
    """Parameters of a run; ``settings`` are those of recipe, backbone and task."""
    stated = {
        "dataset": result.dataset,
        "split": result.split,
        "backbone": result.backbone,
        "method": result.method,
        "method_label": result.method_label,
        "dimension": result.dimension,
        "budget": result.budget,
        "budget_bytes": result.budget_bytes,
        "seed": result.seed,
        **dict(_flat("method", result.method_config)),
        **{name: value for group, found in settings.items() for name, value in _flat(group, found)},
    }
    return {names.name(name): names.value(str(value)) for name, value in stated.items() if value is not None}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # A tagged setting is named by its tag: {"name": "adam", ...} under "optimizer" is optimizer=adam.
            yield from [(prefix, inner)] if name == "name" else _flat(f"{prefix}.{name}", inner)
    else:
        yield prefix, json.dumps(value) if isinstance(value, list | tuple) else value


def measurements(result: Result) -> Iterator[tuple[str, float | None]]:
    """Metrics of a result, without speeds."""
    yield from _qualities("", result.quality, result.metrics)
    yield from _qualities("valid_", result.quality_valid, result.metrics)
    primary = result.metric.name
    yield from ((f"pack_gap_{label}", gaps.get(primary)) for label, gaps in result.pack_gap.items())
    yield "bytes", result.bytes
    yield "bytes_ratio", result.bytes_ratio
    yield "param_ratio", result.param_ratio
    yield "backbone_bytes", result.backbone_bytes
    yield "seconds", result.seconds
    if result.training is not None:
        yield "train_seconds", result.training.seconds
        yield "train_samples_per_second", result.training.samples_per_second
        yield "train_peak_bytes", result.training.peak_memory_bytes
        yield "train_epochs", result.training.epochs


def _qualities(prefix: str, quality: Quality, metrics: Sequence[Metric]) -> Iterator[tuple[str, float | None]]:
    """Each metric of each label and, under the metric's name, the mean over the labels that have it."""
    for name in (metric.name for metric in metrics):
        known = {label: values[name] for label, values in quality.items() if name in values}
        yield from ((f"{prefix}{name}_{label}", value) for label, value in known.items())
        if known:
            yield f"{prefix}{name}", sum(known.values()) / len(known)


def speeds(speed: Speed) -> Iterator[tuple[str, float | None]]:
    """Metrics of the measured speed."""
    own = min((timing.rows for timing in speed.lookups), default=0)
    for timing in speed.lookups:
        # Plain names are for the data's own ids and size; names for larger tables and other ids say so.
        suffix = "" if timing.stream == "data" else f"_{timing.stream}"
        suffix += "" if timing.rows == own else "_large"
        yield f"lookups_per_second{suffix}", timing.per_second
        yield f"lookup_ratio_torch{suffix}", timing.ratio_torch
        yield f"lookup_ratio_fp32{suffix}", timing.ratio_fp32
    yield "model_samples_per_second", speed.model_samples_per_second
    yield "model_ratio_fp32", speed.model_ratio_fp32
    yield "model_samples_per_second_large", speed.large_model_samples_per_second
    yield "model_ratio_fp32_large", speed.large_model_ratio_fp32
    yield "other_cpu_percent", speed.other_cpu_percent


def curves(history: Iterable[Epoch], begun: int) -> Iterator[Point]:
    """Validation metrics after each epoch, by stage, with the timestamp ``begun`` (in milliseconds)."""
    steps: dict[str, int] = {}
    for epoch in history:
        step = steps[epoch.stage] = steps.get(epoch.stage, -1) + 1
        values = [
            ("train_loss", epoch.train_loss),
            ("learning_rate", epoch.learning_rate),
            *((f"valid_{name}_{label}", value) for label, own in epoch.valid.items() for name, value in own.items()),
        ]
        yield from metrics(((f"{epoch.stage}/{name}", value) for name, value in values), begun, step)


def metrics(values: Iterable[tuple[str, float | None]], begun: int, step: int = 0) -> Iterator[Point]:
    """Those of ``values`` that are numbers, as MLflow metrics."""
    from mlflow.entities import Metric as Point

    for name, value in values:
        if value is not None and math.isfinite(value):
            yield Point(names.name(name), float(value), begun, step)
