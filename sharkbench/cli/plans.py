"""The plan as a table: finished runs, and the estimated cost of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sharkbench.cli.console import duration, table

if TYPE_CHECKING:
    from sharkbench.results.records import Result
    from sharkbench.suite.run import RunSpec


def tell_of_bad_data(runs: Sequence[RunSpec], cache: Path | None) -> bool:
    """Check the first rows of data that is not prepared yet and print what preparation will refuse; returns whether
    anything was printed."""
    from sharkbench.cli.guard import tell
    from sharkbench.data.first_rows import check_first_rows
    from sharkbench.data.prepare import prepared_path
    from sharkbench.errors import DataError

    bad = False
    for spec in {run.fingerprint: run.dataset for run in runs}.values():
        if not prepared_path(spec, cache).is_dir():
            try:
                check_first_rows(spec)
            except DataError as error:
                tell(DataError(f"data set '{spec.name}': {error}"))
                bad = True
    return bad


def print_plan(
    runs: Sequence[RunSpec], out: Path, *, jobs: int, force: bool = False, retry_failed: bool = False
) -> None:
    """Print one row per run: done or to do, with its measured or estimated seconds."""
    from sharkbench.results.store import Store
    from sharkbench.suite.costs import Costs

    store = Store(out)
    results = {result.key: result for result in store.results()}
    costs = Costs(results.values())
    rows, left, unknown = [], 0.0, 0
    for run in runs:
        key = run.key
        state = results[key].status if key in results else None
        to_do = force or state is None or (retry_failed and state == "failed")
        guess = costs.guess(run) if to_do else None
        left, unknown = left + (guess or 0.0), unknown + (to_do and guess is None)
        told = "to do" if state is None else f"{state}, again" if to_do else state
        cost = "" if not to_do else "?" if guess is None else f"~{duration(guess)}"
        rows.append(
            (run.dataset.name, run.backbone.name, run.method_label, run.budget or "-", run.seed, key, told, cost)
        )
    table(("data set", "backbone", "method", "budget", "seed", "key", "status", "cost"), rows, right=("seed", "cost"))
    to_do_count = sum(row[6] == "to do" or str(row[6]).endswith("again") for row in rows)
    parts = [f"{len(runs)} runs, {to_do_count} to do under {out}"]
    if earlier := _by_earlier_code(runs, results):
        parts.append(f"{earlier} of them are there by earlier code: see 'sharkbench verify'")
    if left:
        parts.append(f"about {duration(left / jobs)} by what similar runs took")
    if unknown:
        parts.append(f"{unknown} like none that has finished here, so their cost is not known")
    print("; ".join(parts))


def _by_earlier_code(runs: Sequence[RunSpec], results: Mapping[str, Result]) -> int:
    """Number of runs to do that are stored under the key of earlier code."""
    keys = {run.key for run in runs}
    stored = {
        _name(r.data_fingerprint, r.backbone, r.method_label, r.budget, r.seed)
        for k, r in results.items()
        if k not in keys
    }
    names = (
        _name(run.fingerprint, run.backbone.name, run.method_label, run.budget, run.seed)
        for run in runs
        if run.key not in results
    )
    return sum(name in stored for name in names)


def _name(data: str, backbone: str, method: str, budget: object, seed: int) -> tuple[str, str, str, str, int]:
    return data, backbone, method, str(budget) if budget else "", seed
