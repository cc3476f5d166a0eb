"""Reads results from before metrics were data, when there was one task and its metrics were fields.

The constants here describe that time and do not follow later changes of the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sharkbench.results.metrics import Metric

TASK = "ctr"
METRICS = (
    Metric(
        name="auc",
        title="AUC",
        higher_is_better=True,
        primary=True,
        monitored=True,
        low=0,
        high=1,
        chance=0.5,
        by="DeLong",
        spread=0.01,
        typical_spread=0.001,
    ),
    Metric(name="logloss", title="log loss", higher_is_better=False, monitored=True, low=0, spread=0.01),
    Metric(
        name="normalized_entropy",
        title="normalized entropy",
        meaning="log loss, relative to that of the label's base rate",
        higher_is_better=False,
        low=0,
    ),
    Metric(
        name="ece",
        title="calibration error",
        meaning="expected calibration error",
        higher_is_better=False,
        low=0,
        high=1,
    ),
    Metric(
        name="gauc",
        title="grouped AUC",
        meaning="AUC within groups, where a group column is named",
        higher_is_better=True,
        grouped=True,
        low=0,
        high=1,
    ),
)
_PRIMARY, _PARTS = "auc", "auc_blocks"
_OF_EPOCHS = {"valid_auc": "auc", "valid_logloss": "logloss"}


def as_now(said: Any) -> Any:
    """Add the task and the metrics to the content of a result; a result that states its metrics is unchanged."""
    if not isinstance(said, dict) or "metrics" in said:
        return said
    now = {"task": TASK, "metrics": METRICS, **said}
    for field in ("quality", "quality_valid"):
        now[field], parts = _apart(said.get(field, {}))
        if parts:
            now["parts"] = parts
    gaps = said.get("pack_gap", {})
    if isinstance(gaps, Mapping):
        now["pack_gap"] = {label: gap if isinstance(gap, Mapping) else {_PRIMARY: gap} for label, gap in gaps.items()}
    if isinstance(said.get("history"), list):
        now["history"] = [_epoch(epoch) for epoch in said["history"]]
    return now


def _apart(quality: Any) -> tuple[Any, dict[str, Any]]:
    """Separate the values by label from the parts by label."""
    if not isinstance(quality, Mapping):
        return quality, {}
    values, parts = {}, {}
    for label, found in quality.items():
        if not isinstance(found, Mapping):
            values[label] = found
            continue
        values[label] = {name: value for name, value in found.items() if name != _PARTS and value is not None}
        if (blocks := found.get(_PARTS)) is not None:
            parts[label] = {_PRIMARY: {"samples": blocks}}
    return values, parts


def _epoch(epoch: Any) -> Any:
    if not isinstance(epoch, Mapping) or not _OF_EPOCHS.keys() & epoch.keys():
        return epoch
    valid: dict[str, dict[str, Any]] = {}
    for field, name in _OF_EPOCHS.items():
        for label, value in epoch.get(field, {}).items():
            valid.setdefault(label, {})[name] = value
    return {**{name: value for name, value in epoch.items() if name not in _OF_EPOCHS}, "valid": valid}
