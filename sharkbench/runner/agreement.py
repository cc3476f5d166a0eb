"""Compares two results of one run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from sharkbench.results.metrics import Metric
from sharkbench.results.records import Result

BYTES = 0.01
"""Relative tolerance of the bytes: pruning by trained values may differ slightly on other hardware."""

_COMPARED = ("status", "bytes", "quality", "parts", "quality_valid", "pack_gap", "bytes_by_field", "formats", "history")
_NOT_OUTCOME = ("seconds",)
"""Fields of an epoch that are not part of the outcome."""


def difference(before: Result, now: Result, *, bits: bool) -> str | None:
    """The first difference, with both values, in one line; ``None`` if the results agree.

    Args:
        bits: whether every bit has to agree, as on the same processor and torch. Otherwise metrics with a ``spread``
            have to agree within it, and the primary metric to the bit if it has none. Values that only the newer
            result has (of a new metric) are no difference.
    """
    if bits:
        old, new = _outcome(before), _outcome(now)
        return next((f"{place} was {a} and is {b}" for place, a, b in _differences(old, new, "")), None)
    if before.status != now.status:
        return f"status was {before.status} and is {now.status}"
    if abs((before.bytes or 0) - (now.bytes or 0)) > BYTES * (before.bytes or 0):
        return f"bytes was {before.bytes} and is {now.bytes}"
    for metric in before.metrics:
        if metric.primary or metric.spread is not None:
            apart, most = largest_difference(before, now, metric), metric.spread or 0.0
            if apart > most:
                return f"{metric.title} differs by {apart:.4f}, and on other hardware or torch by at most {most:g}"
    return None


def largest_difference(before: Result, now: Result, metric: Metric | None = None) -> float:
    """Largest difference in a metric (by default the primary one) over labels and splits; infinite if one lacks it."""
    name = (metric or before.metric).name
    pairs = [
        (values.get(name, math.nan), theirs.get(label, {}).get(name, math.nan))
        for own, theirs in ((before.quality, now.quality), (before.quality_valid, now.quality_valid))
        for label, values in own.items()
    ]
    return max((_apart(a, b) for a, b in pairs), default=0.0)


def _apart(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return 0.0 if math.isnan(a) and math.isnan(b) else math.inf
    return abs(a - b)


def _outcome(result: Result) -> dict[str, Any]:
    """The outcome as JSON, in which NaN equals itself."""
    dumped = json.loads(result.model_dump_json(include=set(_COMPARED)))
    for epoch in dumped["history"]:
        for name in _NOT_OUTCOME:
            epoch.pop(name)
    return {name: dumped[name] for name in _COMPARED}


def _differences(old: Any, new: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            yield from _differences(value, new.get(name), f"{place}.{name}" if place else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{place}[{number}]")
    elif old is not None and old != new:
        yield place, old, new
