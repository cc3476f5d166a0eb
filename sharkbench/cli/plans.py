"""The plan as a table: what is done, and what the rest may cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from sharkbench.cli.console import duration, table

if TYPE_CHECKING:
    from sharkbench.records import Result
    from sharkbench.suite.run import RunSpec


def print_plan(
    runs: Sequence[RunSpec], out: Path, *, jobs: int, force: bool = False, retry_failed: bool = False
) -> None:
    """One row per run: done or to do, and the seconds that it took or may take."""
    from sharkbench.store import Store

    store = Store(out)
    results = {result.key: result for result in store.results()}
    guesses: dict[tuple[str, str, str], float | None] = {}
    rows, left, unknown = [], 0.0, 0
    for run in runs:
        key = run.key
        state = results[key].status if key in results else None
        to_do = force or state is None or (retry_failed and state == "failed")
        kind = (run.fingerprint, run.method_label, run.backbone.name)
        if to_do and kind not in guesses:
            guesses[kind] = guessed_seconds(run, results.values())
        guess = guesses[kind] if to_do else None
        left, unknown = left + (guess or 0.0), unknown + (to_do and guess is None)
        told = "to do" if state is None else f"{state}, again" if to_do else state
        cost = "" if not to_do else "?" if guess is None else f"~{duration(guess)}"
        rows.append(
            (run.dataset.name, run.backbone.name, run.method_label, run.budget or "-", run.seed, key, told, cost)
        )
    table(("data set", "backbone", "method", "budget", "seed", "key", "status", "cost"), rows, right=("seed", "cost"))
    to_do_count = sum(row[6] == "to do" or str(row[6]).endswith("again") for row in rows)
    parts = [f"{len(runs)} runs, {to_do_count} to do under {out}"]
    if left:
        parts.append(f"about {duration(left / jobs)} by what similar runs took")
    if unknown:
        parts.append(f"{unknown} like none that has finished here, so their cost is not known")
    print("; ".join(parts))


def guessed_seconds(run: RunSpec, results: Iterable[Result]) -> float | None:
    """Mean seconds of the finished runs most like ``run``: same data and dimension, then method and backbone if any."""
    alike = [r for r in results if r.status == "ok" and r.data_fingerprint == run.fingerprint]
    for same in (
        lambda r: (r.method_label, r.backbone) == (run.method_label, run.backbone.name),
        lambda r: r.method_label == run.method_label,
        lambda r: r.backbone == run.backbone.name,
        lambda r: True,
    ):
        if taken := [r.seconds for r in alike if same(r)]:
            return mean(taken)
    return None
