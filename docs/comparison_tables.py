"""The tables of comparison.md, from the runs of the suites that run every method."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, stdev

from claims_tables import Row, Table, units

RESULTS = Path(__file__).resolve().parent.parent / "results"
BUDGETS = ("0.5", "0.25", "0.1", "0.05")
FULL = "full"
SPEEDS = {"lookups_ratio_torch": "lookups", "large_lookups_ratio_torch": "of 10 million rows"}


def falls(results: str, backbone: str, *, timed: bool) -> Table:
    """A line per method: AUC minus that of the full table in units of 0.0001, as the mean over labels, at each budget.

    Of all seeds that are complete the mean, and behind ± the standard deviation over seeds; a seed is compared with the
    full table of the same seed. The best at a quarter of the bytes come first. Where a method uses less than 95% of its
    budget, or has none, the bytes that it takes stand beside, and where some seeds failed, how many did not. With
    ``timed``, lookups too, of the last seed that has them.
    """
    rows = [row for row in _read(results, "runs.csv") if row["backbone"] == backbone and row["superseded"] != "true"]
    rows = _complete(rows)
    full = {(row["seed"], row["label"]): float(row["auc"]) for row in rows if row["method"] == FULL and row["auc"]}
    methods = dict.fromkeys(row["method"] for row in rows if row["method"] != FULL)
    lines: dict[str, list[str]] = {}
    order: dict[str, float] = {}
    for method in methods:
        own = {b: [row for row in rows if (row["method"], row["budget"]) == (method, b)] for b in ("", *BUDGETS)}
        epochs = [float(row["train_epochs"]) for budget in own.values() for row in budget if row["train_epochs"]]
        lines[method] = [
            f"`{method}`",
            *(_cell(own[budget], full) for budget in BUDGETS),
            _cell(own[""], full),
            f"{fmean(epochs):.1f}" if epochs else "",
            *(_ratio(own["0.25"] + own[""], name) for name in SPEEDS if timed),
        ]
        # At a quarter of the bytes, or at the next smaller size that there is.
        sizes = (_differences(own[budget], full) for budget in ("0.25", "", "0.1", "0.05", "0.5"))
        order[method] = next((fmean(found) for found in sizes if found), float("-inf"))
    heads = ["", *(f"{float(b):.0%}" for b in BUDGETS), "no budget", "epochs", *(SPEEDS.values() if timed else ())]
    return heads, [lines[method] for method in sorted(methods, key=lambda m: (-order[m], m))]


def rates(results: str) -> Table:
    """Validation AUC of each setting minus that of the full table, per backbone, in units of 0.0001."""
    rows = [row for row in _read(results, "runs.csv") if row["superseded"] != "true"]
    places = dict.fromkeys(row["backbone"] for row in rows)

    def auc(method: str, backbone: str) -> float | None:
        found = [row["valid_auc"] for row in rows if (row["method"], row["backbone"]) == (method, backbone)]
        return fmean(map(float, found)) if all(found) and found else None

    lines = []
    for method in sorted({row["method"] for row in rows if row["method"] != FULL}, key=_setting):
        own = [(auc(method, place), auc(FULL, place)) for place in places]
        lines.append([f"`{method}`", *("" if a is None or b is None else units(a - b) for a, b in own)])
    return ["", *places], lines


def _setting(label: str) -> tuple[str, float, str]:
    """A method's name, and the rate that its label says after it; where it says none, the last of its settings."""
    name, rate = label.split()[:2]
    return name, float(rate) if rate != "default" else float("inf"), label


def _complete(rows: Sequence[Row]) -> list[Row]:
    """Those of seeds that have run everything: means over other seeds would not be comparable."""
    done: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        done.setdefault(row["seed"], set()).add((row["method"], row["budget"]))
    most = max(map(len, done.values()))
    return [row for row in rows if len(done[row["seed"]]) == most]


def _differences(rows: Sequence[Row], full: Mapping[tuple[str, str], float]) -> list[float]:
    """AUC minus that of the full table of the same seed, mean over labels, for every seed that has both."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["auc"] and (row["seed"], row["label"]) in full:
            found.setdefault(row["seed"], []).append(float(row["auc"]) - full[row["seed"], row["label"]])
    return [fmean(labels) for labels in found.values()]


def _cell(rows: Sequence[Row], full: Mapping[tuple[str, str], float]) -> str:
    found = _differences(rows, full)
    if not found:
        return "infeasible" if any(row["status"] == "infeasible" for row in rows) else ""
    said = units(fmean(found)) + (f" ± {stdev(found) * 1e4:.0f}" if len(found) > 1 else "")
    budget, ratio = rows[0]["budget"], fmean(float(row["bytes_ratio"]) for row in rows if row["auc"])
    beside = [] if budget and ratio >= 0.95 * float(budget) else [f"{ratio:.1%}"]
    seeds = len({row["seed"] for row in rows})
    if len(found) < seeds:
        beside.append(f"{len(found)} of {seeds} seeds")
    return f"{said} ({', '.join(beside)})" if beside else said


def _ratio(rows: Sequence[Row], name: str) -> str:
    """Of the last seed alone: machines and kernels may differ between seeds."""
    found = {row["seed"]: float(row[name]) for row in rows if row[name]}
    return f"{found[max(found, key=int)]:.1f}" if found else ""


@cache
def _read(results: str, name: str) -> list[Row]:
    with (RESULTS / results / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
