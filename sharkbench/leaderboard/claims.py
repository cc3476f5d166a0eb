"""Tests a suite's claims on its results: held, not held, or unresolved with the available seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sharkbench.leaderboard.cells import Cell, FinishedRun, cells_of
from sharkbench.leaderboard.columns import Column
from sharkbench.leaderboard.csvfile import write_csv
from sharkbench.leaderboard.statistics import MIN_SEEDS, Interval, paired_difference
from sharkbench.results.store import Store
from sharkbench.suite.claims import NOTE, Claim

Verdict = Literal["held", "not held", "not resolvable", "not measured"]
BySeed = dict[tuple[str, int], float]


@dataclass(frozen=True)
class Finding:
    """One claim in one setting, against one rival."""

    claim: Claim
    dataset: str
    backbone: str
    label: str
    """Label; empty for figures that labels share."""
    budget: str
    against: str
    """Rival; empty if the figure itself is bounded."""
    value: float | None
    """Mean over seeds: the figure, its difference, or its ratio (then the geometric mean)."""
    interval: Interval | None
    """95% confidence interval, paired over seeds; ``None`` for fewer than three seeds."""
    n: int
    verdict: Verdict


def findings_of(store: Store, claims: Sequence[Claim]) -> list[Finding]:
    """Every claim in every setting in which its method was run, in the order of ``claims``."""
    cells = cells_of(store)
    return [finding for claim in claims for finding in _findings(store, cells, claim)]


def overall(findings: Iterable[Finding]) -> Verdict:
    """Verdict of one claim: held if it holds everywhere, not held if it fails anywhere."""
    verdicts: set[Verdict] = {finding.verdict for finding in findings}
    order: tuple[Verdict, ...] = ("not held", "not measured", "not resolvable", "held")
    return next((verdict for verdict in order if verdict in verdicts), "not measured")


def write_claims(path: Path, findings: Sequence[Finding]) -> None:
    """Write the findings as CSV, one row each."""
    write_csv(path, COLUMNS, findings)


def _findings(store: Store, cells: Sequence[Cell], claim: Claim) -> list[Finding]:
    found, seen = [], set()
    for cell in cells:
        figure = claim.figure or cell.metric.name
        place = cell.name if figure in _metrics(cell) else cell.name._replace(label="")  # labels share all else
        if cell.name.method != claim.method or not _in_scope(claim, cell) or place in seen:
            continue
        seen.add(place)
        own = _by_seed(store, cell, figure)
        for rival in claim.against or ("",):
            other = _by_seed(store, _rival(cells, cell, rival), figure) if rival else dict.fromkeys(own, 0.0)
            value, interval, n = _compared(own, other, claim.compare)
            verdict = _verdict(claim, value, interval)
            found.append(
                Finding(
                    claim, place.dataset, place.backbone, place.label, place.budget, rival, value, interval, n, verdict
                )
            )
    return found or [Finding(claim, "", "", "", "", "", None, None, 0, "not measured")]


def _in_scope(claim: Claim, cell: Cell) -> bool:
    name = cell.name
    pairs = (
        (claim.datasets, name.dataset),
        (claim.backbones, name.backbone),
        (claim.labels, name.label),
        (claim.budgets, name.budget),
    )
    return all(not wanted or own in wanted for wanted, own in pairs)


def _rival(cells: Sequence[Cell], cell: Cell, method: str) -> Cell | None:
    """The rival's cell in the same setting: with the same budget, or without one for a method without a budget."""
    for budget in (cell.name.budget, ""):
        wanted = cell.name._replace(method=method, budget=budget)
        for other in cells:
            if other.name == wanted:
                return other
    return None


def _by_seed(store: Store, cell: Cell | None, figure: str) -> BySeed:
    if cell is None:
        return {}
    values = {}
    for run in cell.ok:
        value = _figure(store, cell, run, figure)
        if value is not None and not math.isnan(value):
            # Speeds on different machines are not paired.
            own = run.result.comparison + (run.speed.hardware if figure == "samples_per_second" and run.speed else "")
            values[own, run.result.seed] = value
    return values


def _figure(store: Store, cell: Cell, run: FinishedRun, figure: str) -> float | None:
    if figure.startswith(NOTE):
        return _noted(store, run.result.key, *figure.removeprefix(NOTE).rsplit(".", 1))
    if figure in _FIGURES:
        return _FIGURES[figure](run)
    return (cell.quality(run) or {}).get(figure)


def _metrics(cell: Cell) -> set[str]:
    return {metric.name for metric in cell.metrics}


def _noted(store: Store, key: str, table: str, column: str) -> float | None:
    values = [row[column] for row in store.notes(key).get(table, []) if isinstance(row.get(column), int | float)]
    return math.fsum(values) if values else None


_FIGURES: dict[str, Callable[[FinishedRun], float | None]] = {
    "bytes_ratio": lambda run: run.result.bytes_ratio,
    "training_seconds": lambda run: run.result.training.seconds if run.result.training else None,
    "samples_per_second": lambda run: run.speed.model_samples_per_second if run.speed else None,
    "model_ratio_fp32": lambda run: run.speed.model_ratio_fp32 if run.speed else None,
    "large_model_ratio_fp32": lambda run: run.speed.large_model_ratio_fp32 if run.speed else None,
    "lookups_ratio_torch": lambda run: t.ratio_torch if run.speed and (t := run.speed.own_size) else None,
}


def _compared(own: BySeed, other: BySeed, compare: str) -> tuple[float | None, Interval | None, int]:
    if compare == "ratio":
        own = {key: math.log(value) for key, value in own.items() if value > 0}
        other = {key: math.log(value) for key, value in other.items() if value > 0}
    difference = paired_difference(own, other)
    if difference is None:
        return None, None, 0
    if compare == "difference":
        return difference.mean, difference.interval, difference.n
    interval = difference.interval
    ratios = interval and Interval(math.exp(interval.low), math.exp(interval.high))
    return math.exp(difference.mean), ratios, difference.n


def _verdict(claim: Claim, value: float | None, interval: Interval | None) -> Verdict:
    if value is None:
        return "not measured"
    if interval is None:
        return "not resolvable"
    low, high = interval.low, interval.high
    if claim.at_least is not None:
        return "held" if low >= claim.at_least else "not held" if high < claim.at_least else "not resolvable"
    assert claim.at_most is not None
    return "held" if high <= claim.at_most else "not held" if low > claim.at_most else "not resolvable"


COLUMNS: tuple[Column[Finding], ...] = (
    Column("claim", "the claim in words", lambda f: f.claim.says),
    Column(
        "verdict", f"not resolvable: fewer than {MIN_SEEDS} seeds, or their spread is too wide", lambda f: f.verdict
    ),
    Column("dataset", "data set", lambda f: f.dataset),
    Column("backbone", "backbone", lambda f: f.backbone),
    Column("label", "label, empty for figures that labels share", lambda f: f.label),
    Column("budget", "budget", lambda f: f.budget),
    Column("method", "whose claim", lambda f: f.claim.method),
    Column("against", "rival", lambda f: f.against),
    Column("figure", "what is compared", lambda f: f.claim.figure),
    Column("compare", "difference or ratio", lambda f: f.claim.compare if f.against else "value"),
    Column("at_least", "bound", lambda f: f.claim.at_least),
    Column("at_most", "bound", lambda f: f.claim.at_most),
    Column("value", "mean over seeds", lambda f: f.value),
    Column("low", "95% interval, paired over seeds", lambda f: f.interval.low if f.interval else None),
    Column("high", "95% interval, paired over seeds", lambda f: f.interval.high if f.interval else None),
    Column("n", "seeds that both sides have", lambda f: f.n),
)
