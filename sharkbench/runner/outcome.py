"""Fields of results that follow from the run alone: complete for failed runs, the start of all others."""

from __future__ import annotations

from typing import Any

from sharkbench.results.records import FailureKind, Result
from sharkbench.suite.run import RunSpec


def facts_of(spec: RunSpec) -> dict[str, Any]:
    """The fields of a :class:`Result` that identify the run."""
    seedless = spec.model_copy(update={"seed": 0})
    return {
        "key": spec.key,
        "setting": seedless.key,
        "comparison": seedless.full_key,
        "suite": spec.suite,
        "task": spec.task.name,
        "metrics": spec.task.metrics,
        "dataset": spec.dataset.name,
        "split": spec.dataset.split.kind,
        "data_fingerprint": spec.fingerprint,
        "backbone": spec.backbone.name,
        "method": spec.method.name,
        "method_label": spec.method_label,
        "code": spec.code,
        "method_config": spec.method.model_dump(mode="json", exclude={"name"}),
        "dimension": spec.dimension,
        "budget": str(spec.budget) if spec.budget else None,
        "seed": spec.seed,
    }


def failed(spec: RunSpec, kind: FailureKind, reason: str, *, started: str, seconds: float) -> Result:
    """A run that ended without a model. ``reason`` is one line."""
    return Result(**facts_of(spec), status="failed", kind=kind, reason=reason, started=started, seconds=seconds)


def infeasible(spec: RunSpec, reason: str, *, started: str, seconds: float, **more: Any) -> Result:
    """A run whose method cannot reach the budget. ``reason`` is one line, ``more`` are further fields of the result."""
    return Result(**facts_of(spec), status="infeasible", reason=reason, started=started, seconds=seconds, **more)
