"""What the report says, gathered from the leaderboard: facts, method pages, failures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharkbench.leaderboard.cells import Cell, FinishedRun, why
from sharkbench.leaderboard.figures import duration, size
from sharkbench.leaderboard.remarks import revision
from sharkbench.leaderboard.report.cards import MethodCard
from sharkbench.leaderboard.standings import Standing
from sharkbench.results.metrics import Metric
from sharkbench.results.store import Store

MAX_NOTE_ROWS = 400


def charts_for(metric: Metric) -> dict[str, set[str]]:
    """Plots of noted tables, and the columns that each takes."""
    return {
        "path_bytes": {"step", "bytes_ratio", metric.name},
        "path_fields": {"step", "fields", metric.name},
        "scores": {"field", "score"},
        "tiers": {"field", "tier", "share_of_rows"},
    }


@dataclass(frozen=True)
class Note:
    """A table that a method has noted down in one run; ``charts`` names the plots that its columns allow."""

    title: str
    task: str
    columns: list[str]
    rows: list[dict[str, Any]]
    left_out: int
    charts: list[str]


@dataclass(frozen=True)
class MethodPage:
    """One method, as labelled."""

    label: str
    anchor: str
    card: MethodCard | None
    settings: list[tuple[str, str]]
    """Which runs, and the settings that they state."""
    standings: list[Standing]
    runs: list[FinishedRun] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def runs_of(cells: Iterable[Cell]) -> list[FinishedRun]:
    """Every run that stands in the leaderboard once; superseded ones are left out."""
    return list({run.result.key: run for cell in cells for run in cell.runs}.values())


def facts(runs: Sequence[FinishedRun]) -> list[tuple[str, list[str]]]:
    """What was run and on what, as terms with their values; where runs differ, with how many there are of each."""
    results = [run.result for run in runs]
    states = Counter(result.status for result in results)
    started = sorted(result.started for result in results)
    environments = [run.environment for run in runs if run.environment]
    speeds = [run.speed for run in runs if run.speed]

    def once(values: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(values))

    def counted(values: Iterable[str]) -> list[str]:
        found = Counter(values).most_common()
        return [value if len(found) == 1 else f"{value} ({count} runs)" for value, count in found]

    tables = {(r.dataset, r.backbone): r.fp32_bytes for r in results if r.fp32_bytes}
    return [
        ("runs", [f"{count} {state}" for state, count in states.most_common()]),
        ("data sets", once(f"{r.dataset}, {r.split} split, fingerprint {r.data_fingerprint[:10]}" for r in results)),
        ("backbones", once(r.backbone for r in results)),
        ("fp32 tables", [f"{d}, {b}: {size(nbytes)}" for (d, b), nbytes in tables.items()]),
        ("dimension", once(str(r.dimension) for r in results)),
        ("methods", once(r.method_label for r in results)),
        ("budgets", once(r.budget for r in results if r.budget)),
        ("seeds", [str(seed) for seed in sorted({r.seed for r in results})]),
        ("trained on", counted(_machine(run) for run in runs)),
        ("speeds measured on", counted(speed.hardware for speed in speeds)),
        ("kernels", once(f"{name}: {kernel}" for s in speeds for name, kernel in sorted(s.kernels.items()))),
        ("code", counted(revision(run) for run in runs)),
        ("package", counted(f"sharkbench {e.sharkbench}, Python {e.python}" for e in environments)),
        ("libraries", counted(" ".join(f"{k} {v}" for k, v in sorted(e.packages.items())) for e in environments)),
        ("started", [f"{started[0]} to {started[-1]}"] if started else []),
        ("time of all runs", [duration(sum(result.seconds for result in results))]),
    ]


def _machine(run: FinishedRun) -> str:
    about = run.environment
    if about is None:
        return "unknown"
    return ", ".join([about.cpu, f"{about.cores} cores", f"{about.memory_bytes / 2**30:.0f} GiB", *about.gpus])


def warnings(runs: Sequence[FinishedRun]) -> list[str]:
    """What a reader has to know before comparing rows."""
    found = []
    if stale := sum(run.state == "stale" for run in runs):
        found.append(
            f"{stale} of {len(runs)} runs are stale: they were made by code that has changed since, and nobody has "
            "verified that it still comes to the same. Their rows say so."
        )
    if any(run.state == "verified on other hardware" for run in runs):
        found.append("Some runs of earlier code were verified on other hardware; their rows say so.")
    if len(revisions := {revision(run) for run in runs}) > 1:
        found.append(f"Runs were made by {len(revisions)} revisions of the code; rows that differ say so.")
    if any(revision(run).endswith("+") for run in runs):
        found.append("A revision marked + had uncommitted changes.")
    fingerprints: dict[str, set[str]] = {}
    for run in runs:
        fingerprints.setdefault(run.result.dataset, set()).add(run.result.data_fingerprint)
    found.extend(
        f"Data set {name} was prepared in {len(prints)} different ways; rows that differ say so."
        for name, prints in fingerprints.items()
        if len(prints) > 1
    )
    if len({run.speed.hardware for run in runs if run.speed}) > 1:
        found.append("Speeds were measured on different hardware; only ratios of one measurement are shown.")
    if any(run.speed.busy for run in runs if run.speed):
        found.append("A speed marked ? was timed while other processes kept the machine busy.")
    return found


def failures(runs: Iterable[FinishedRun]) -> list[tuple[FinishedRun, str]]:
    """What did not end well, each with its reason in one line."""
    return [(run, why(run.result)) for run in runs if run.result.status != "ok"]


def method_pages(standings: Sequence[Standing], store: Store, cards: Mapping[str, MethodCard]) -> list[MethodPage]:
    """A page for every method as labelled, in the order of their names."""
    by_label: dict[str, list[Standing]] = {}
    for standing in standings:
        by_label.setdefault(standing.cell.name.method, []).append(standing)
    return [
        _page(label, f"method-{number}", by_label[label], store, cards)
        for number, label in enumerate(sorted(by_label), start=1)
    ]


def _page(label: str, anchor: str, own: list[Standing], store: Store, cards: Mapping[str, MethodCard]) -> MethodPage:
    runs = runs_of(standing.cell for standing in own)
    card = cards.get(runs[0].result.method)
    return MethodPage(label, anchor, card, _settings(runs), own, runs, _notes(store, runs))


def _settings(runs: Sequence[FinishedRun]) -> list[tuple[str, str]]:
    """Settings and the budgets that they are of; a budget may decide some of them."""
    found: dict[str, list[str]] = {}
    for run in runs:
        result = run.result
        stated = {name: value for name, value in sorted(result.method_config.items()) if value is not None}
        text = ", ".join(f"{n} = {v if isinstance(v, str) else json.dumps(v)}" for n, v in stated.items())
        found.setdefault(text, []).append(
            f"{result.dataset}, {result.backbone}" + (f" @ {result.budget}" if result.budget else "")
        )
    return [("; ".join(dict.fromkeys(where)), text) for text, where in found.items() if text]


def _notes(store: Store, runs: Sequence[FinishedRun]) -> list[Note]:
    """The tables of the first seed of each cell."""
    first: dict[tuple[str, str, str | None], FinishedRun] = {}
    for run in runs:
        first.setdefault((run.result.dataset, run.result.backbone, run.result.budget), run)
    found = []
    for run in first.values():
        found += [_note(name, rows, run) for name, rows in store.notes(run.result.key).items() if rows]
    return found


def _note(name: str, rows: list[dict[str, Any]], run: FinishedRun) -> Note:
    result = run.result
    columns = list(dict.fromkeys(key for row in rows for key in row))
    charts = [chart for chart, needed in charts_for(result.metric).items() if needed <= set(columns)]
    at = f" @ {result.budget}" if result.budget else ""
    title = f"{name}: {result.dataset}, {result.backbone}{at}, seed {result.seed}"
    return Note(title, result.task, columns, rows[:MAX_NOTE_ROWS], max(0, len(rows) - MAX_NOTE_ROWS), charts)
