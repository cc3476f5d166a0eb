"""``run``, ``plan``, ``validate``, ``prepare``, ``status``: commands that take a suite to its results."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from sharkbench.cli.guard import BAD_INPUT, FAILED, INTERRUPTED, tell
from sharkbench.cli.options import Cache, Only, Out, Settings, Shard, SuiteName, opened
from sharkbench.results.uncollected import uncollected


def run(
    suite: SuiteName,
    settings: Settings = None,
    only: Only = None,
    shard: Shard = None,
    out: Out = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do also what is done already.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do also what has failed.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, what of it is done, and a guess of the cost.")
    ] = False,
    cache: Cache = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the HTML report at the end.")] = True,
) -> None:
    """Execute the missing runs of a suite, then print its leaderboard and write its report."""
    from sharkbench import api
    from sharkbench.cli.console import console
    from sharkbench.cli.plans import print_plan, tell_of_bad_data
    from sharkbench.cli.progress import Progress
    from sharkbench.cli.report import report_at_the_end
    from sharkbench.leaderboard.terminal import print_leaderboard
    from sharkbench.suite.plan import plan as planned

    loaded, out_dir = opened(suite, settings, out)
    runs = planned(loaded, only or (), cache, shard)
    jobs = jobs or loaded.jobs
    if dry_run:
        print_plan(runs, out_dir, jobs=jobs, force=force, retry_failed=retry_failed)
        if tell_of_bad_data(runs, cache):
            raise typer.Exit(BAD_INPUT)
        return
    with Progress(runs, jobs) as progress:
        summary = api.run(
            loaded, out=out_dir, only=only or (), shard=shard, jobs=jobs, force=force, retry_failed=retry_failed,
            cache_dir=cache, on_event=progress,
        )  # fmt: skip
    print_leaderboard(out_dir, console())
    print(f"\nLeaderboard: {out_dir / 'leaderboard.csv'}")
    if report and not summary.interrupted and (written := report_at_the_end(loaded, out_dir)):
        print(f"Report:      {written}")
    if loaded.tracking.enabled:
        print(
            f"MLflow UI:   {_own_command()} ui {shlex.quote(suite)}"
            + (f" --out {shlex.quote(str(out))}" if out else "")
        )
    if summary.interrupted:
        again = f"{_own_command()} {shlex.join(sys.argv[1:])}"
        print(f"Interrupted; what is done is kept, and '{again}' goes on.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if summary.failed:
        print(f"{summary.failed} runs failed; 'sharkbench status {suite}' says why.", file=sys.stderr)
        raise typer.Exit(FAILED)


@uncollected()
def plan(
    suite: SuiteName,
    settings: Settings = None,
    only: Only = None,
    shard: Shard = None,
    out: Out = None,
    cache: Cache = None,
) -> None:
    """Show the runs of a suite: done and to do."""
    from sharkbench.cli.plans import print_plan, tell_of_bad_data
    from sharkbench.suite.plan import plan as planned

    loaded, out_dir = opened(suite, settings, out)
    runs = planned(loaded, only or (), cache, shard)
    print_plan(runs, out_dir, jobs=loaded.jobs)
    if tell_of_bad_data(runs, cache):
        raise typer.Exit(BAD_INPUT)


def validate(
    suites: Annotated[list[str], typer.Argument(metavar="SUITE...", help="Files, or names of built-in suites.")],
    settings: Settings = None,
) -> None:
    """Check suite files without running anything or reading data."""
    from sharkbench.errors import InputError
    from sharkbench.suite.load import load

    wrong = False
    for name in suites:
        try:
            loaded = load(name, settings or ())
        except InputError as error:
            tell(error)
            wrong = True
            continue
        cells = len(loaded.datasets) * len(loaded.backbones) * len(loaded.seeds)
        runs = cells * sum(len(loaded.budgets_of(entry)) for entry in loaded.methods)
        print(f"{name}: good, {runs} runs")
    if wrong:
        raise typer.Exit(BAD_INPUT)


def prepare(suite: SuiteName, settings: Settings = None, cache: Cache = None) -> None:
    """Encode the data sets of a suite and store them in the cache."""
    from sharkbench.data.prepare import prepare as prepare_dataset
    from sharkbench.errors import DataError

    loaded, _ = opened(suite, settings, None)
    bad = False
    for entry in loaded.datasets:
        try:
            data = prepare_dataset(entry.spec, cache)
        except DataError as error:
            tell(error)
            bad = True
            continue
        rows = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
        print(f"{data.name}: {rows}; {data.schema.num_fields} fields, {data.schema.num_rows:,} ids; {data.path}")
    if bad:
        raise typer.Exit(BAD_INPUT)


@uncollected()
def status(
    suite: SuiteName, settings: Settings = None, only: Only = None, out: Out = None, cache: Cache = None
) -> None:
    """Show the progress of a suite, and why runs failed."""
    from collections import Counter

    from sharkbench.cli.console import table
    from sharkbench.cli.progress import run_name
    from sharkbench.results.store import Store
    from sharkbench.suite.plan import plan as planned

    loaded, out_dir = opened(suite, settings, out)
    store = Store(out_dir)
    runs = {run.key: run for run in planned(loaded, only or (), cache)}
    found = {key: store.get(key) for key in runs}
    count = Counter(result.status if result else "missing" for result in found.values())
    print(
        f"{loaded.name}: {len(runs)} runs, "
        + ", ".join(f"{count[s]} {s}" for s in ("ok", "infeasible", "failed", "missing"))
    )
    ok = [key for key, result in found.items() if result and result.status == "ok"]
    unmeasured = [key for key in ok if runs[key].measure.lookup and not store.has_speed(key)]
    if stale := sum(result.key not in runs for result in store.results()):
        print(f"{stale} stored runs are none of these: of other settings, or of code that has changed since")
    if unmeasured:
        print(f"{len(unmeasured)} of the ok ones have no measured speed yet")
    rows = [
        (r.status, r.kind or "", run_name(runs[r.key]), r.reason, store.directory(r.key) / "log.txt")
        for r in found.values()
        if r and r.status != "ok"
    ]
    if rows:
        table(("status", "kind", "run", "reason", "log"), rows)


def _own_command() -> str:
    """The command that starts this program: its name if the shell finds it, else its path."""
    name = Path(sys.argv[0]).name
    found = shutil.which(name)
    if found and Path(found).resolve() == Path(sys.argv[0]).resolve():
        return name
    path = Path(sys.argv[0])
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
