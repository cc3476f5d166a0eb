"""Sorts the runs of a store into the cells of the leaderboard; a cell holds the seeds of one setting."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, Literal, NamedTuple, get_args

from sharkbench.results.metrics import Metric
from sharkbench.results.records import REFERENCE, Environment, Result, Speed, State, TrainingCost
from sharkbench.results.store import Store
from sharkbench.results.uncollected import uncollected
from sharkbench.suite.freshness import Freshness

Figure = tuple[str, Callable[[Any], Any]]
"""Kind of a figure, and the function that computes it."""
CellStatus = Literal["ok", "partial", "infeasible", "failed"]


@dataclass(frozen=True)
class FinishedRun:
    """All stored records of one run."""

    result: Result
    environment: Environment | None
    speed: Speed | None
    state: State = "fresh"
    outdated: bool = False
    """Whether formats or kernels have changed since its lookups were timed."""


class CellName(NamedTuple):
    """Identifies a row of the leaderboard. ``label`` is empty if no run of the data set has recorded its labels."""

    dataset: str
    split: str
    backbone: str
    method: str
    budget: str
    label: str
    task: str


@dataclass(frozen=True)
class Cell:
    """The runs of one cell by seed, and their aggregates; means are over the runs with status ok.

    A metric that is undefined on a split is NaN or absent in a run, and excluded from the means."""

    name: CellName
    runs: tuple[FinishedRun, ...]
    superseded: tuple[FinishedRun, ...] = ()
    """Runs of the same name whose recipe, data or code differ from the newest run's (of those that are not stale, where
    there is one); not in any figure."""
    references: tuple[FinishedRun, ...] = ()
    """Full-precision runs of the same data set, split and backbone."""
    figures: dict[Figure, float | None] = field(default_factory=dict, repr=False, compare=False)
    """Cache of figures that do not depend on the label; cells with the same runs share it."""

    @cached_property
    def ok(self) -> tuple[FinishedRun, ...]:
        return tuple(run for run in self.runs if run.result.status == "ok")

    @property
    def n_failed(self) -> int:
        """Number of runs that failed or were infeasible."""
        return len(self.runs) - len(self.ok)

    @property
    def status(self) -> CellStatus:
        if self.ok:
            return "partial" if self.n_failed else "ok"
        return "failed" if any(run.result.status == "failed" for run in self.runs) else "infeasible"

    @property
    def state(self) -> State:
        """The worst state of its runs, relative to the present code."""
        states = {run.state for run in self.runs}
        return next(state for state in reversed(get_args(State)) if state in states)

    @property
    def reason(self) -> str | None:
        """Distinct reasons why runs failed."""
        told = dict.fromkeys(why(run.result) for run in self.runs if run.result.status != "ok")
        return "; ".join(told) or None

    @property
    def is_reference(self) -> bool:
        return bool(self.ok) and all(is_reference(run.result) for run in self.ok)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of its runs."""
        return self.runs[0].result.metrics

    @cached_property
    def metric(self) -> Metric:
        """The primary metric, for ranking."""
        return self.runs[0].result.metric

    def quality(self, run: FinishedRun) -> Mapping[str, float] | None:
        """Quality of a run for the cell's label, by metric."""
        return run.result.quality.get(self.name.label)

    def value(self, run: FinishedRun) -> float | None:
        """The primary metric of a run; ``None`` if it has none."""
        found = (self.quality(run) or {}).get(self.metric.name)
        return None if found is None or math.isnan(found) else found

    def mean(self, metric: str) -> float | None:
        """Mean over seeds of the metric with this name."""
        return _mean(quality[metric] for run in self.ok if (quality := self.quality(run)) and metric in quality)

    @cached_property
    def value_mean(self) -> float | None:
        """The primary metric, mean over seeds."""
        return self.mean(self.metric.name)

    @cached_property
    def value_by_seed(self) -> dict[int, float]:
        return {run.result.seed: value for run in self.ok if (value := self.value(run)) is not None}

    @property
    def score_mean(self) -> float | None:
        """The primary metric as a score (higher is better), mean over seeds."""
        return None if self.value_mean is None else self.metric.score(self.value_mean)

    @property
    def value_std(self) -> float | None:
        """Sample standard deviation over seeds; ``None`` for fewer than two."""
        values, n = self.value_by_seed.values(), len(self.value_by_seed)
        if n < 2:
            return None
        mean = statistics.fmean(values)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))

    @property
    def value_delta(self) -> float | None:
        """Mean over seeds of the primary metric minus that of the full-precision run with the same seed, recipe and
        data."""
        reference = {(run.result.comparison, run.result.seed): self.value(run) for run in self.references}
        pairs = ((self.value(run), reference.get((run.result.comparison, run.result.seed))) for run in self.ok)
        return _mean(own - other for own, other in pairs if own is not None and other is not None)

    def mean_of(self, value: Callable[[Result], float | None]) -> float | None:
        """Mean of a figure of the result over the runs with status ok that have it."""
        results = (run.result for run in self.ok)
        return self._once(
            ("result", value), lambda: _mean(found for result in results if (found := value(result)) is not None)
        )

    def mean_cost(self, value: Callable[[TrainingCost], float]) -> float | None:
        costs = (run.result.training for run in self.ok)
        return self._once(("cost", value), lambda: _mean(value(cost) for cost in costs if cost))

    def median_ratio(self, value: Callable[[Speed], float | None]) -> float | None:
        """Median over seeds of a ratio of two speeds of the same measurement, which cancels the hardware."""
        speeds = (run.speed for run in self.ok)
        return self._once(
            ("speed", value),
            lambda: _median(ratio for speed in speeds if speed and (ratio := value(speed)) is not None),
        )

    @property
    def lookup_ratio(self) -> float | None:
        """Lookup speed on the data's own ids, to fp32: :attr:`~sharkbench.results.records.Speed.lookup_ratio`."""
        return self.median_ratio(_lookup_ratio)

    def median_rate(self, value: Callable[[Speed], float | None]) -> float | None:
        """Median over seeds of a rate per second; ``None`` if the seeds were measured on different hardware."""
        if len({run.speed.hardware for run in self.ok if run.speed}) > 1:
            return None
        return self.median_ratio(value)

    def _once(self, figure: Figure, work_out: Callable[[], float | None]) -> float | None:
        if figure not in self.figures:
            self.figures[figure] = work_out()
        return self.figures[figure]


def is_reference(result: Result) -> bool:
    """Whether the run is the plain full-precision table: not improved or trained longer by a method, and as large as
    fp32."""
    return (
        result.status == "ok"
        and result.method == REFERENCE
        and result.bytes is not None
        and result.fp32_bytes is not None
        and result.bytes >= result.fp32_bytes
    )


def why(result: Result) -> str:
    """One line: the kind of failure, if any, and the reason."""
    reason = " ".join((result.reason or "no reason was recorded").split())
    return f"{result.kind}: {reason}" if result.kind else reason


def cells_of(store: Store) -> list[Cell]:
    """The cells of all finished runs: by data set, split, backbone and label, the full-precision table first, then
    what has no budget, then budgets from large to small and the primary metric from good to bad. Tasks are apart."""
    code = Freshness(store)
    with uncollected():
        runs = [_finished(store, result, code) for result in store.results()]
    labels: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    references: dict[tuple[str, str, str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        labels[run.result.task, run.result.dataset].update(dict.fromkeys(run.result.quality))
        if is_reference(run.result):
            references[run.result.task, run.result.dataset, run.result.split, run.result.backbone].append(run)

    grouped: dict[CellName, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        own = run.result
        budget = own.budget or ""
        name = CellName(own.dataset, own.split, own.backbone, own.method_label, budget, "", own.task)
        grouped[name].append(run)
    cells = []
    for name, group in grouped.items():
        cell = _cell(name, group, references[name.task, *name[:3]])
        for rank, label in enumerate(labels[name.task, name.dataset] or {"": None}):
            cells.append((_order(labelled := replace(cell, name=name._replace(label=label)), rank), labelled))
    return [cell for _, cell in sorted(cells, key=itemgetter(0))]


def _finished(store: Store, result: Result, code: Freshness) -> FinishedRun:
    speed = store.speed(result.key)
    outdated = speed is not None and code.outdated(result, speed)
    return FinishedRun(result, store.environment(result.key), speed, code.state(result), outdated)


def _cell(name: CellName, group: Sequence[FinishedRun], references: Sequence[FinishedRun]) -> Cell:
    newest = max(group, key=lambda run: (run.state != "stale", run.result.started))
    current: dict[int, FinishedRun] = {}
    superseded = []
    for run in sorted(group, key=lambda run: (run.result.started, run.result.key), reverse=True):
        if run.result.setting == newest.result.setting and run.result.seed not in current:
            current[run.result.seed] = run
        else:
            superseded.append(run)
    ordered = tuple(current[seed] for seed in sorted(current))
    return Cell(name, ordered, superseded=tuple(superseded), references=tuple(references))


def _order(cell: Cell, label_rank: int) -> tuple[str, str, str, str, int, bool, float, float, str]:
    budget = max((run.result.budget_bytes or 0 for run in cell.runs), default=0) if cell.name.budget else math.inf
    score = cell.score_mean
    return (
        cell.name.task,
        cell.name.dataset,
        cell.name.split,
        cell.name.backbone,
        label_rank,
        not cell.is_reference,
        -budget,
        -score if score is not None else math.inf,
        cell.name.method,
    )


_lookup_ratio = attrgetter("lookup_ratio")


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _mean(values: Iterable[float]) -> float | None:
    found = [value for value in values if not math.isnan(value)]
    return statistics.fmean(found) if found else None
