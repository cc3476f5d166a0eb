"""Results of a search as rows: choices, trials, and the cost of each method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from sharkbench.leaderboard.columns import Column
from sharkbench.results.metrics import Metric
from sharkbench.results.store import Store
from sharkbench.search.conduct import Choice, Searched, full_again
from sharkbench.search.lossless import Lossless
from sharkbench.search.snippet import changes
from sharkbench.search.study import Finished, Search


@dataclass(frozen=True)
class Found:
    """A chosen configuration; results with the suite's own seeds are ``None`` until they are measured.

    Attributes:
        test_value: the primary metric, mean over those seeds and over labels.
        test_delta: to the full-precision table with the same seeds and the suite's recipe, paired.
        lookups_torch, lookups_fp32: lookups per second relative to ``F.embedding`` and to this project's fp32 kernel on
            the fp32 table, median over seeds.
    """

    choice: Choice
    test_value: float | None
    test_delta: float | None
    lookups_torch: float | None
    lookups_fp32: float | None
    seeds: int

    @property
    def trial(self) -> Finished:
        return self.choice.trial

    @property
    def search(self) -> Search:
        return self.choice.search

    @property
    def valid_delta(self) -> float | None:
        """The validation metric minus that of the reference: full precision, or the suite's own settings."""
        if isinstance(self.search, Lossless):
            full = self.search.reference.values
            return mean(value - full[seed] for seed, value in self.trial.outcome.values.items())
        default = self.search.default
        if default is None or default.outcome.status != "ok" or self.search.mode == "pareto":
            return None
        return self.trial.outcome.value - default.outcome.value


def found_in(searched: Searched) -> list[Found]:
    """The choices, in the order of the studies; within a study from small to large."""
    return [_found(choice, Store(searched.out)) for choice in searched.choices]


def _found(choice: Choice, store: Store) -> Found:
    results = {spec.seed: result for spec in choice.specs if (result := store.get(spec.key)) and result.status == "ok"}
    full = {spec.seed: store.get(spec.key) for spec in full_again(choice.search.cell)}
    name = choice.search.metric.name
    values = {seed: mean(own[name] for own in result.quality.values()) for seed, result in results.items()}
    deltas = [
        values[seed] - mean(own[name] for own in reference.quality.values())
        for seed, reference in full.items()
        if seed in values and reference is not None and reference.status == "ok"
    ]
    speeds = [speed for result in results.values() if (speed := store.speed(result.key))]
    timings = [timing for speed in speeds if (timing := speed.own_size)]
    return Found(
        choice,
        mean(values.values()) if values else None,
        mean(deltas) if deltas else None,
        median(t.ratio_torch for t in timings) if timings else None,
        median(t.ratio_fp32 for t in timings) if timings else None,
        len(values),
    )


@dataclass(frozen=True)
class Spent:
    """The allowance and the cost of one study."""

    search: Search

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of trials by status."""
        states = [trial.outcome.status for trial in self.search.finished]
        return {state: states.count(state) for state in ("ok", "pruned", "infeasible", "failed")}


def why_nothing(search: Search) -> str:
    """Reason why a study has chosen nothing."""
    if isinstance(search, Lossless) and search.reference.reason:
        return f"the full-precision table has none to be held against: {search.reference.reason}"
    if isinstance(search, Lossless) and search.reference.waiting:
        return "the full-precision table is yet to be trained"
    reasons = list(dict.fromkeys(trial.outcome.reason for trial in search.finished if trial.outcome.reason))
    if not search.finished:
        return "no trial has ended"
    ok = [trial for trial in search.finished if trial.outcome.status == "ok"]
    if ok and isinstance(search, Lossless):
        best = max(ok, key=search.score)
        lost = search.excess(best.outcome)
        return f"none of {len(ok)} tables is good enough; the nearest loses {lost:.4f} more than the tolerance"
    return "; ".join(reasons[:2]) or "no trial was ok"


def chosen_columns(metric: Metric) -> Sequence[Column[Found]]:
    """Columns of the choices by ``metric``."""
    name, title = metric.name, metric.title
    return (
        Column("mode", "how it was searched", lambda f: f.search.mode),
        Column("dataset", "data set", lambda f: f.search.cell.dataset.spec.name),
        Column("backbone", "backbone", lambda f: f.search.cell.backbone.spec.name),
        Column("method", "label of the method", lambda f: f.search.entry.label),
        Column("budget", "budget of the chosen table", lambda f: _budget(f.trial)),
        Column("trial", "number of the chosen trial", lambda f: f.trial.number),
        Column("changes", "settings that differ from the suite's, as JSON", lambda f: _changes(f.search, f.trial)),
        Column("bytes", "bytes of the chosen table", lambda f: f.trial.outcome.bytes),
        Column("bytes_ratio", "the same, relative to the fp32 table", lambda f: f.trial.outcome.bytes_ratio),
        Column(
            f"valid_{name}",
            f"validation {title} of the trial, mean over the search's seeds",
            lambda f: f.trial.outcome.value,
        ),
        Column(
            f"valid_{name}_delta",
            "the same minus that of the full-precision table (lossless) or of the suite's own settings (per_budget)",
            lambda f: f.valid_delta,
        ),
        Column(
            f"test_{name}",
            f"test {title} of the same settings with the suite's own seeds, their mean",
            lambda f: f.test_value,
        ),
        Column(f"test_{name}_delta", "the same minus that of the full-precision table", lambda f: f.test_delta),
        Column("test_seeds", "how many of those seeds there are", lambda f: f.seeds),
        Column(
            "lookups_ratio_torch", "lookups per second relative to `F.embedding` on fp32", lambda f: f.lookups_torch
        ),
        Column(
            "lookups_ratio_fp32", "lookups per second relative to the project's fp32 kernel", lambda f: f.lookups_fp32
        ),
        Column("trials", "trials that the study took", lambda f: len(f.search.finished)),
        Column("search_seconds", "time that their runs took", lambda f: f.search.seconds),
    )


def trial_columns(metric: Metric) -> Sequence[Column[tuple[Search, Finished]]]:
    """Columns of the trials."""
    return (
        Column("mode", "how it was searched", lambda row: row[0].mode),
        Column("dataset", "data set", lambda row: row[0].cell.dataset.spec.name),
        Column("backbone", "backbone", lambda row: row[0].cell.backbone.spec.name),
        Column("method", "label of the method", lambda row: row[0].entry.label),
        Column("study_budget", "budget of the study, where it is at one", lambda row: str(row[0].budget or "")),
        Column("trial", "its number", lambda row: row[1].number),
        Column("default", "whether the settings are the suite's own", lambda row: row[1].default),
        Column("budget", "budget of its table", lambda row: _budget(row[1])),
        Column("changes", "settings that differ from the suite's, as JSON", lambda row: _changes(*row)),
        Column("status", "ok, pruned, infeasible or failed", lambda row: row[1].outcome.status),
        Column(
            f"valid_{metric.name}",
            f"validation {metric.title}, mean over seeds and labels",
            lambda row: _if_ok(row[1], "value"),
        ),
        Column("bytes", "bytes of its table", lambda row: _if_ok(row[1], "bytes")),
        Column("bytes_ratio", "the same, relative to the fp32 table", lambda row: _if_ok(row[1], "bytes_ratio")),
        Column("lookup", "time of a lookup relative to that of `F.embedding`", lambda row: row[1].outcome.lookup),
        Column("seconds", "of its runs", lambda row: row[1].outcome.seconds),
        Column("reason", "why it is not ok", lambda row: row[1].outcome.reason),
    )


def _budget(trial: Finished) -> str:
    return str(trial.configuration.budget or "") if trial.configuration else ""


def _changes(search: Search, trial: Finished) -> str:
    if trial.configuration is None:
        return ""
    said = changes(search.entry.spec, trial.configuration)
    return json.dumps(said, sort_keys=True) if said else ""


def _if_ok(trial: Finished, name: str) -> float | int | None:
    return getattr(trial.outcome, name) if trial.outcome.status == "ok" else None
