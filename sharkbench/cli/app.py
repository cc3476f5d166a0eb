"""All commands."""

from __future__ import annotations

from typing import Annotated

import typer

from sharkbench.cli import artifacts, authoring, claims, listing, report, reporting, running, searching, verifying
from sharkbench.cli.guard import FAILED, guarded

app = typer.Typer(
    name="sharkbench",
    help="Benchmark methods that compress embedding tables of CTR models: which keeps the quality, at how many bytes?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _command in (
    running.run,
    running.plan,
    running.validate,
    running.prepare,
    running.status,
    verifying.verify,
    searching.search,
    reporting.leaderboard,
    report.report,
    report.compare,
    report.merge,
    claims.claims,
    reporting.track,
    reporting.ui,
    listing.info,
    authoring.new,
    authoring.check,
    authoring.schema,
    artifacts.inspect,
    artifacts.measure,
):
    app.command()(guarded(_command))
app.add_typer(listing.listing, name="list")


@app.command()
@guarded
def doctor() -> None:
    """Check this installation and this machine."""
    from sharkbench.cli.console import table
    from sharkbench.machine.doctor import examine

    findings = list(examine())
    table(("", "what", "finding"), [(finding.state, finding.what, finding.text) for finding in findings])
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(FAILED)


def _print_version(wanted: bool) -> None:
    if wanted:
        from sharkbench import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
