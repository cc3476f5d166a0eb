"""A report of what is in a store: one HTML file that needs no network, images for papers, the data as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sharkbench.files.durable import write_text
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.claims import findings_of
from sharkbench.leaderboard.published import compare_with_published
from sharkbench.leaderboard.report.cards import MethodCard
from sharkbench.leaderboard.report.content import method_pages
from sharkbench.leaderboard.report.images import write_images
from sharkbench.leaderboard.report.page import render
from sharkbench.leaderboard.standings import standings_of
from sharkbench.leaderboard.tidy import write_tidy
from sharkbench.results.archive import ARCHIVE, write_archive
from sharkbench.results.store import Store
from sharkbench.suite.model import Suite

REPORT, PLOTS = "report.html", "plots"


def write_report(
    store: Store, suite: Suite, out: Path, cards: Mapping[str, MethodCard], kept: Path | None = None
) -> list[Path]:
    """Write the report of what ``store`` holds now into ``out``.

    Args:
        store: need not be the one under ``out``; if it is, its archive is written too.
        suite: gives the report its name, description, published values and claims; results are those of the store,
            whatever the suite asks for.
        cards: what is known of methods, by name.
        kept: folder for what takes seconds to make and is the same in every report.

    Returns:
        The report first, then tables and images.
    """
    out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(store)
    standings = standings_of(cells)
    write_text(
        out / REPORT,
        render(
            suite.name,
            suite.description,
            standings,
            method_pages(standings, store, cards),
            compare_with_published(cells, suite.references),
            findings_of(store, suite.claims) if suite.claims else [],
            kept,
        ),
    )
    if store.out == out:
        write_archive(store, out / ARCHIVE)
    return [out / REPORT, *write_tidy(out, standings), *write_images(standings, out / PLOTS)]
