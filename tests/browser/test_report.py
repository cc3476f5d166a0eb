"""The report as a browser shows it: it sorts, filters, copies and draws, and has nothing to complain of."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from sharkbench.leaderboard.report import write_report
from sharkbench.results.store import Store
from sharkbench.suite.model import Suite
from tests.browser.conftest import Visit
from tests.leaderboard.handmade import add_run
from tests.leaderboard.plausible import fill

BOARD = "#leaderboard-table tbody tr"


def _suite(**changes: Any) -> Suite:
    minimal = {"name": "plausible", "datasets": ["synthetic"], "backbones": ["dnn"], "methods": ["full"]}
    return Suite.model_validate({**minimal, **changes})


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report")
    fill(Store(out), rows=500)
    write_report(Store(out), _suite(), out, {})
    return (out / "report.html").as_uri()


@pytest.fixture
def shown(visit: Visit, report: str) -> Visit:
    visit.page.goto(report)
    visit.page.locator("#training_memory svg.marks").wait_for()
    return visit


def _column(visit: Visit, heading: str, rows: str = BOARD) -> list[str]:
    """The visible texts of a column of the leaderboard."""
    index = visit.page.locator("#leaderboard-table thead th").all_text_contents()
    at = [text.strip() for text in index].index(heading)
    return visit.page.eval_on_selector_all(
        f"{rows}:not([hidden])", f"rows => rows.map(row => row.cells[{at}].textContent.trim())"
    )


def _sort_by(visit: Visit, heading: str) -> None:
    visit.page.locator("#leaderboard-table thead button", has_text=heading).first.click()


def test_nothing_is_complained_of_and_nothing_is_fetched(shown: Visit) -> None:
    for chart in ("quality_bytes", "quality_lookups", "bytes_by_field", "training_time", "training_memory"):
        assert shown.page.locator(f"#{chart} svg.marks path").count() > 5, chart
    assert shown.console == []
    assert [url for url in shown.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_rows_sort_up_and_down_with_empty_cells_last(shown: Visit) -> None:
    before = _column(shown, "AUC")
    _sort_by(shown, "AUC")
    up = [float(text.split()[0]) for text in _column(shown, "AUC") if text[0] == "0"]
    assert up == sorted(up)
    assert _column(shown, "AUC")[-1] == "infeasible"
    assert shown.page.locator("th[aria-sort=ascending]").count() == 1
    _sort_by(shown, "AUC")
    down = _column(shown, "AUC")
    assert [float(text.split()[0]) for text in down if text[0] == "0"] == up[::-1]
    assert sorted(down) == sorted(before)
    _sort_by(shown, "to fp32")
    assert _column(shown, "to fp32")[-1] == ""


def test_headings_sort_with_the_keyboard(shown: Visit) -> None:
    shown.page.locator("#leaderboard-table thead button", has_text="method").focus()
    shown.page.keyboard.press("Enter")
    methods = _column(shown, "method")
    assert methods == sorted(methods)


def test_rows_filter_by_choice_and_by_words(shown: Visit) -> None:
    page = shown.page
    every = len(_column(shown, "method"))
    page.locator("#filters").get_by_label("data set").select_option(label="kuairand")
    assert set(_column(shown, "data set")) == {"kuairand"}
    page.locator("#filters").get_by_label("budget").select_option(label="none")
    assert set(_column(shown, "method")) == {"full", "int8"}
    page.locator("#filters").get_by_label("budget").select_option(label="all")
    page.locator("#filters").get_by_label("Search").fill("QR infeasible")
    assert set(_column(shown, "method")) == {"qr"}
    assert page.locator("#count").text_content() == f"2 of {every} rows"
    page.locator("#filters").get_by_label("Search").fill("no such thing")
    assert _column(shown, "method") == []


def _copied(visit: Visit, form: str) -> str:
    visit.page.evaluate("delete window.copied")
    visit.page.locator("#filters .copy button", has_text=form).click()
    visit.page.wait_for_function("window.copied !== undefined")
    copied: str = visit.page.evaluate("window.copied")
    return copied


def test_what_is_seen_is_what_is_copied(shown: Visit) -> None:
    shown.page.locator("#filters").get_by_label("Search").fill("hash kuairand dcnv2")
    rows = list(csv.DictReader(io.StringIO(_copied(shown, "CSV"))))
    assert [row["method"] for row in rows] == _column(shown, "method")
    assert [f"{float(row['AUC']):.4f}" for row in rows] == [text.split()[0] for text in _column(shown, "AUC")]
    assert "" not in rows[0]

    markdown = _copied(shown, "Markdown").splitlines()
    assert len({line.count(" | ") for line in markdown}) == 1
    assert len(markdown) == 2 + len(rows)

    latex = _copied(shown, "LaTeX")
    body = latex.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == len(rows)
    assert "is\\_click" in latex
    assert "$\\pm$" in latex


def test_another_section_draws_its_own_points(shown: Visit) -> None:
    section = shown.page.locator("#section")
    before = shown.page.locator("#quality_bytes svg.marks").inner_html()
    section.select_option(index=3)
    shown.page.wait_for_function(
        "before => document.querySelector('#quality_bytes svg.marks')?.innerHTML !== before", arg=before
    )
    assert shown.console == []


def test_a_method_has_a_page_of_its_own(shown: Visit) -> None:
    page = shown.page
    page.locator("#methods a", has_text="f_permutation").click()
    page.locator("article.current .chart svg.marks").first.wait_for()
    assert page.locator("article.current h2").text_content() == "f_permutation"
    for chart in ("path_bytes", "path_fields", "scores"):
        page.locator(f"article.current .chart[id$='-{chart}'] svg.marks").first.wait_for()
    assert not page.locator("#overview").is_visible()
    assert page.locator("article:visible").count() == 1
    page.locator("article.current .runs summary").click()
    assert page.locator("article.current .runs tbody tr").count() == 2 * 2 * 3 * 3
    page.locator("article.current .back a").click()
    assert page.locator("#overview").is_visible()
    assert page.locator("article:visible").count() == 0
    assert shown.console == []


def test_a_phone_does_not_scroll_sideways(shown: Visit) -> None:
    shown.page.set_viewport_size({"width": 390, "height": 800})
    assert shown.page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
    assert not shown.page.locator("#leaderboard-table td.detail").first.is_visible()


def test_paper_gets_everything_and_no_controls(shown: Visit) -> None:
    shown.page.emulate_media(media="print")
    assert shown.page.locator("article:visible").count() == shown.page.locator("article").count()
    assert shown.page.locator(".tools:visible").count() == 0


def test_no_name_runs(visit: Visit, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'{{7*7}}"
    changes: dict[str, Any] = {"dataset": hostile, "backbone": hostile, "bytes_by_field": {hostile: 10}}
    for seed in range(3):
        add_run(Store(tmp_path), "full", None, seed, {hostile: 0.8}, **changes)
        add_run(Store(tmp_path), hostile, 0.1, seed, {hostile: 0.7}, **changes)
        add_run(Store(tmp_path), "=1+1", 0.1, seed, {hostile: 0.6}, **changes)
    write_report(Store(tmp_path), _suite(description=hostile), tmp_path, {})
    visit.page.goto((tmp_path / "report.html").as_uri())
    visit.page.locator("#bytes_by_field svg.marks").wait_for()
    visit.page.locator(
        "#quality_bytes svg.marks [aria-roledescription=point]"
    ).last.hover()  # shows the tip with the names
    assert visit.page.locator("img").count() == 0
    assert visit.page.locator("header p").text_content() == hostile
    assert visit.console == []
    assert [row["method"] for row in csv.DictReader(io.StringIO(_copied(visit, "CSV")))].count("'=1+1") == 1
