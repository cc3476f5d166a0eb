"""A trial is one configuration, run once per seed of the search; its runs are evaluated on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sharkbench.contract.budget import Budget
from sharkbench.keys.closure import Snapshot
from sharkbench.measure.spec import MeasureSpec
from sharkbench.results.metrics import Metric
from sharkbench.results.records import Result, Speed
from sharkbench.search.space import Configuration
from sharkbench.suite import filters
from sharkbench.suite.entries import BackboneEntry, DatasetEntry
from sharkbench.suite.model import Suite, changed
from sharkbench.suite.run import RunSpec, present_code

if TYPE_CHECKING:
    import optuna

UNTIMED = MeasureSpec(lookup=False)
TrialStatus = Literal["ok", "pruned", "infeasible", "failed"]


@dataclass(frozen=True)
class Cell:
    """Where methods are searched: one data set and one backbone of a suite."""

    suite: Suite
    dataset: DatasetEntry
    backbone: BackboneEntry
    fingerprint: str
    code: Snapshot = field(default_factory=present_code, compare=False)
    """The code at the start of the search."""

    @property
    def name(self) -> str:
        return f"{self.dataset.spec.name}/{self.backbone.spec.name}"

    @property
    def metric(self) -> Metric:
        """The primary metric of the suite's task, which is optimized."""
        return self.suite.task.primary

    def specs(
        self,
        configuration: Configuration,
        seeds: Sequence[int],
        *,
        label: str,
        judged_on: Literal["test", "valid"] = "valid",
        measure: MeasureSpec = UNTIMED,
    ) -> list[RunSpec]:
        """The runs of a configuration, one per seed.

        Args:
            label: of the method's row.
            judged_on: ``test`` is for what a search has chosen, never for its trials.
            measure: how lookups are timed.

        Raises:
            pydantic.ValidationError: a changed setting is invalid.
        """
        recipe = changed(self.suite.recipe(self.dataset, self.backbone), configuration.train)
        backbone = self.backbone.spec
        if configuration.backbone:
            backbone = type(backbone).model_validate({**backbone.model_dump(), **configuration.backbone})
        run = RunSpec(
            suite=self.suite.name,
            dataset=self.dataset.spec,
            fingerprint=self.fingerprint,
            task=self.suite.task,
            backbone=backbone,
            dimension=self.suite.dimension,
            method=configuration.method,
            method_label=label,
            budget=configuration.budget,
            seed=0,
            train=recipe,
            measure=measure,
            timeout=self.suite.executor.timeout,
            judged_on=judged_on,
        ).by(self.code)
        return [filters.timed(run.model_copy(update={"seed": seed})) for seed in seeds]


def cells(suite: Suite, cache_dir: Path | None = None) -> list[Cell]:
    """Every combination of data set and backbone.

    Raises:
        InputError: data is missing.
    """
    from sharkbench.data.prepare import fingerprint

    code = present_code()
    sources = [(dataset, fingerprint(dataset.spec, cache_dir)) for dataset in suite.datasets]
    return [Cell(suite, dataset, backbone, source, code) for dataset, source in sources for backbone in suite.backbones]


@dataclass(eq=False)
class Running:
    """A running trial: the runs it waits for, and the results of the others."""

    trial: optuna.Trial
    configuration: Configuration | None
    specs: list[RunSpec]
    results: dict[str, Result] = field(default_factory=dict)
    speeds: dict[str, Speed | None] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    """Keys of its active runs."""
    stopped: bool = False
    judged: set[int] = field(default_factory=set)
    """Steps of its first run at which it was judged."""
    partly: bool = False
    """Whether one of its runs was resumed after a kill, and does not report its first epochs again."""
    seconds: float = 0.0
    """Seconds of its runs, including the original seconds of stored runs."""
    reason: str = ""
    """Reason why it could not be run."""

    @property
    def number(self) -> int:
        return self.trial.number

    def outcome(self, limit: Budget | None = None) -> Outcome:
        """The outcome of its runs. A run that is not ok determines the status of the trial.

        Args:
            limit: budget in bytes, which a method with given settings does not know.
        """
        results = [self.results[spec.key] for spec in self.specs if spec.key in self.results]
        bad = next((r for status in ("failed", "infeasible") for r in results if r.status == status), None)
        if self.reason:
            return Outcome("failed", reason=self.reason, seconds=self.seconds)
        if self.stopped:  # regardless of the results of its runs before they stopped, which depend on timing
            return Outcome("pruned", seconds=self.seconds)
        if bad is not None:
            status: TrialStatus = "infeasible" if bad.status == "infeasible" else "failed"
            kind = f"{bad.kind}: " if bad.kind else ""
            return Outcome(status, reason=f"{kind}{bad.reason}", seconds=self.seconds)
        values = {result.seed: result.metric.mean(result.quality_valid) for result in results}
        if not all(math.isfinite(value) for value in values.values()):
            reason = f"the validation split has no {results[0].metric.title}"
            return Outcome("failed", reason=reason, seconds=self.seconds)
        lookup = _lookup(self.speeds)
        if lookup is None and any(spec.measure.lookup for spec in self.specs):
            return Outcome("failed", reason="its lookups could not be timed", seconds=self.seconds)
        for result in results:
            if limit and result.bytes and result.fp32_bytes and result.bytes > limit.nbytes(result.fp32_bytes):
                reason = f"its settings take {result.bytes:,} bytes, more than the budget"
                return Outcome("infeasible", reason=reason, seconds=self.seconds)
        sizes = [(result.bytes or 0, result.bytes_ratio or 0.0) for result in results]
        return Outcome("ok", values, *max(sizes), lookup=lookup, seconds=self.seconds)

    def add(self, result: Result) -> None:
        """Add the result of one of its runs."""
        self.results[result.key] = result
        self.seconds += result.seconds
        self.pending.discard(result.key)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        values: by seed, the primary metric on validation with the packed layer, mean over labels.
        bytes: bytes of the largest of its tables; ``bytes_ratio`` is relative to fp32.
        lookup: time of a lookup relative to that of ``F.embedding``, if it was measured.
        seconds: seconds of its runs.
    """

    status: TrialStatus
    values: Mapping[int, float] = field(default_factory=dict)
    bytes: int = 0
    bytes_ratio: float = 0.0
    lookup: float | None = None
    reason: str = ""
    seconds: float = 0.0

    @property
    def value(self) -> float:
        """The primary metric, mean over seeds."""
        return sum(self.values.values()) / len(self.values)


def _lookup(speeds: Mapping[str, Speed | None]) -> float | None:
    """Relative lookup time at the data's own size and ids, mean over the runs."""
    ratios = [1 / own.ratio_torch for speed in speeds.values() if speed and (own := speed.own_size)]
    return sum(ratios) / len(ratios) if ratios else None
