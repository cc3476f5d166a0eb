"""``report``, ``compare``, ``merge``: commands that show, compare and join results."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharkbench.cli.options import Out, Settings, SuiteName, opened
from sharkbench.errors import InputError
from sharkbench.results.uncollected import uncollected

if TYPE_CHECKING:
    from sharkbench.leaderboard.report.cards import MethodCard
    from sharkbench.suite.model import Suite

Results = Annotated[Path, typer.Argument(help="An output directory, or a store.parquet.")]


@uncollected()
def report(suite: SuiteName, settings: Settings = None, out: Out = None) -> None:
    """Write the report of finished runs: one HTML file, images, CSV and Parquet tables."""
    from sharkbench import tracking
    from sharkbench.leaderboard.report import write_report
    from sharkbench.results import archive

    loaded, out_dir = opened(suite, settings, out)
    with archive.opened(out_dir) as store:
        paths = write_report(store, loaded, out_dir, method_cards(), _kept())
    for path in paths:
        print(path)
    if _attach(loaded, out_dir, paths):
        uri = tracking.tracking_uri(loaded, out_dir)
        print(f"attached to the newest parent run at {tracking.without_secrets(uri, uri)}")


def report_at_the_end(suite: Suite, out: Path) -> Path | None:
    """Write the report of a suite that has just been run. An error is printed in one line and affects no result."""
    from sharkbench.leaderboard.report import write_report
    from sharkbench.results.store import Store

    try:
        paths = write_report(Store(out), suite, out, method_cards(), _kept())
    except Exception as error:
        said = " ".join(str(error).split())
        print(
            f"the report could not be written ({type(error).__name__}: {said}); the results are stored, and "
            "'sharkbench report' makes it again",
            file=sys.stderr,
        )
        return None
    _attach(suite, out, paths)
    return paths[0]


def compare(
    first: Results,
    second: Results,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparison as CSV too.")] = None,
) -> None:
    """Compare two result sets: differences of the second to the first, paired by seed."""
    from sharkbench.cli.console import console
    from sharkbench.leaderboard.cells import cells_of
    from sharkbench.leaderboard.compare import compare, print_comparison, write_comparison
    from sharkbench.results import archive

    with archive.opened(first) as one, archive.opened(second) as two:
        pairings = compare(cells_of(one), cells_of(two))
    if not pairings:
        raise InputError(f"neither {first} nor {second} holds a finished run")
    print_comparison(pairings, console())
    if csv is not None:
        write_comparison(csv, pairings)
        print(csv)


def merge(
    sources: Annotated[
        list[Path], typer.Argument(help="Output directories of several machines, or store.parquet files.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets the runs of all of them.")],
) -> None:
    """Join the results of several machines."""
    from sharkbench import leaderboard
    from sharkbench.leaderboard.merge import merge

    done = merge(sources, out)
    for line in done.conflicts:
        print(f"differs: {line}")
    if done.refused:
        print(f"{done.refused} runs refused: the warnings say which, and why", file=sys.stderr)
    print(f"{done.added} runs added, {done.replaced} replaced by better ones, {done.kept} kept as they were")
    for path in leaderboard.write(out):
        print(path)


def method_cards() -> dict[str, MethodCard]:
    """The cards of all methods that can be imported here."""
    from sharkbench.contract import registry
    from sharkbench.leaderboard.report.cards import MethodCard

    return {
        name: MethodCard(method.title, method.paper, method.year, method.family, inspect.getdoc(method) or "")
        for name, method in registry.available().items()
    }


def _kept() -> Path:
    """Folder of cached parts that are the same in every report."""
    from sharkbench.data.cache import default_cache_dir

    return default_cache_dir() / "report"


def _attach(suite: Suite, out: Path, files: list[Path]) -> bool:
    """Attach the files in MLflow. If it cannot be reached, this is printed and nothing else fails."""
    from sharkbench import tracking

    try:
        return tracking.attach(suite, out, [file for file in files if file.suffix != ".parquet"])
    except Exception as error:  # anything that MLflow and its dependencies raise
        why = tracking.reason(error, tracking.tracking_uri(suite, out))
        print(f"the report could not be attached in MLflow ({why})", file=sys.stderr)
        return False
