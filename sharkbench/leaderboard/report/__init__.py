"""A report of what is in a store: one HTML file that needs no network, images for papers, the data as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sharkbench.leaderboard.archive import ARCHIVE, write_archive
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.published import compare_with_published
from sharkbench.leaderboard.report.content import MethodCard, method_pages
from sharkbench.leaderboard.report.images import write_images
from sharkbench.leaderboard.report.page import render
from sharkbench.leaderboard.standings import standings_of
from sharkbench.leaderboard.tidy import write_tidy
from sharkbench.store import Store, write_text
from sharkbench.suite.references import Reference

__all__ = ["MethodCard", "write_report"]

REPORT, PLOTS = "report.html", "plots"


def write_report(
    store: Store,
    out: Path,
    *,
    title: str,
    description: str = "",
    references: Sequence[Reference] = (),
    cards: Mapping[str, MethodCard] | None = None,
) -> list[Path]:
    """Write the report of what ``store`` holds now into ``out``.

    Args:
        title: of the report.
        description: a sentence under the title.
        references: published values to hold the results against.
        cards: what is known of methods, by name.

    Returns:
        The report first, then tables and images. Beside them lies the archive that all can be made from again.
    """
    out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(store)
    standings = standings_of(cells)
    pages = method_pages(standings, store, cards or {})
    html = render(title, description, standings, pages, compare_with_published(cells, references))
    write_text(out / REPORT, html)
    if store.out == out:
        write_archive(store, out / ARCHIVE)
    return [out / REPORT, *write_tidy(out, standings), *write_images(standings, out / PLOTS)]
