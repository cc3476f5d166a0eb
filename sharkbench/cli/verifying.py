"""``verify``: whether the present code reproduces the stored results of earlier code."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from sharkbench.cli.guard import FAILED
from sharkbench.cli.options import Cache, Only, Out, Settings, SuiteName, opened


def verify(
    suite: SuiteName,
    settings: Settings = None,
    only: Only = None,
    out: Out = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which runs would be done again.")] = False,
    cache: Cache = None,
) -> None:
    """Repeat a few stored runs of earlier code, and carry over the results that the present code reproduces."""
    from sharkbench.cli.console import table
    from sharkbench.cli.progress import Progress
    from sharkbench.runner import verify as verifying
    from sharkbench.suite.plan import plan as planned

    loaded, out_dir = opened(suite, settings, out)
    runs = planned(loaded, only or (), cache)
    left: Counter[str] = Counter()
    store = verifying.opened(out_dir)
    found = list(verifying.earlier(store, runs, left))
    drawn = verifying.draw(found, store)
    if dry_run:
        print(f"{len(found)} runs are of earlier code; to verify them, these are done again:")
        table(
            ("run", "took s", "changes covered"),
            [(d.name, f"{d.result.seconds:.0f}", str(len(d.changed))) for d in drawn],
        )
        _print_left(left)
        return
    with Progress([one.spec for one in drawn], jobs or loaded.jobs) as progress:
        outcome = verifying.verify(loaded, runs, out_dir, jobs=jobs or loaded.jobs, cache_dir=cache, tell=progress)
    print(f"{len(outcome.drawn)} runs were done again, {outcome.carried.total()} are carried over to the present code.")
    for method, number in sorted(outcome.carried.items()):
        print(f"  {method}: {number}")
    _print_left(outcome.left)
    for line in outcome.differing:
        print(f"differs: {line}")
    if outcome.differing:
        raise typer.Exit(FAILED)


def _print_left(left: Counter[str]) -> None:
    for reason, number in left.most_common():
        print(f"{number} are left as they are, {reason}")
