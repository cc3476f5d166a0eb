"""``search``: a search for budgets and settings with Optuna."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sharkbench.cli.guard import INTERRUPTED
from sharkbench.cli.options import Cache, Out, Settings, SuiteName, opened

if TYPE_CHECKING:
    from pathlib import Path

    from sharkbench.search.conduct import Searched
    from sharkbench.suite.model import Suite


def search(
    suite: SuiteName,
    settings: Settings = None,
    out: Out = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be searched, how far it is, and a guess of the cost.")
    ] = False,
    cache: Cache = None,
) -> None:
    """Search budgets and settings as configured in the suite's 'search', then evaluate the chosen ones."""
    loaded, out_dir = opened(suite, settings, out)
    jobs = jobs or loaded.jobs
    if dry_run:
        _print_plan(loaded, out_dir, jobs, cache)
        return
    from sharkbench.cli.console import table
    from sharkbench.cli.search_progress import SearchProgress
    from sharkbench.search import plots
    from sharkbench.search.conduct import run_search
    from sharkbench.search.report import write_report
    from sharkbench.search.terminal import print_found

    with SearchProgress(jobs) as progress:
        searched = run_search(loaded, out_dir, jobs=jobs, cache_dir=cache, on_event=progress)
    paths = write_report(searched)
    print_found(searched, table)
    print()
    for path in paths:
        print(path)
    if not plots.drawable():
        print(plots.MISSING)
    _record(searched, paths)
    if not loaded.search or not loaded.search.storage:
        print(f"studies: optuna-dashboard {shlex.quote(str(searched.folder / 'optuna.journal'))}")
    if searched.interrupted:
        print("Interrupted; what is done is kept, and the same command goes on.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _print_plan(suite: Suite, out: Path, jobs: int, cache: Path | None) -> None:
    from sharkbench.cli.console import duration, table
    from sharkbench.results.store import Store
    from sharkbench.search.outline import most_runs, search_of, studies_of

    search, results = search_of(suite), Store(out / "search").results()
    rows = []
    for study in studies_of(suite):
        most = f"{search.allowance} trials" if search.allowance else f"{search.minutes:g} min"
        place = study.dataset.spec.name, study.backbone.spec.name
        rows.append((study.mode, *place, study.entry.label, study.budget or "", f"at most {most}"))
    table(("mode", "data set", "backbone", "method", "budget", "share"), rows)
    told = [f"{len(rows)} studies, {len(search.seeds)} seeds each"]
    most_of_all = most_runs(suite)
    if most_of_all:
        told.append(f"at most {most_of_all} runs")
        if results:
            mean = sum(result.seconds for result in results) / len(results)
            told.append(
                f"{len(results)} done, {duration(mean)} each, so at most {duration(most_of_all * mean / jobs)} in all"
            )
    else:
        told.append(f"about {duration(len(rows) * (search.minutes or 0) * 60 / jobs)}")
    print("; ".join(told))


def _record(searched: Searched, files: list[Path]) -> None:
    """Record the report in MLflow. If it cannot be reached, this is printed and nothing else fails."""
    from sharkbench import tracking
    from sharkbench.search.track import track_search

    if not searched.suite.tracking.enabled:
        return
    uri = tracking.tracking_uri(searched.suite, searched.out)
    try:
        if refused := track_search(searched, files):
            print(refused, file=sys.stderr)
        print(f"recorded in MLflow at {tracking.without_secrets(uri, uri)}")
    except Exception as error:  # anything that MLflow and its dependencies raise
        print(f"the search could not be recorded in MLflow ({tracking.reason(error, uri)})", file=sys.stderr)
