"""What a person sees of a search: a plan, a line per trial, and a table on a terminal."""

from __future__ import annotations

import html
import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sharkbench.cli.app import app
from sharkbench.cli.search_progress import SearchProgress
from sharkbench.runner.events import Message, RunStarted
from sharkbench.search import conduct, plots
from sharkbench.search.events import SearchesOpened, SearchEvent
from sharkbench.search.report import write_report
from sharkbench.search.tables import found_in
from sharkbench.search.terminal import print_found
from tests.search.conftest import Bench

SUITE = """
datasets: [{source: synthetic, rows: 1000, cardinalities: [50, 20]}]
backbones: [dnn]
methods: [full, hash, qr]
budgets: [0.5, 0.1]
search: {modes: [lossless, per_budget], trials: 7, seeds: 2}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SUITE)
    return tmp_path / "s.yaml"


def typed(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def test_a_dry_run_names_the_studies_and_their_runs(file: Path, tmp_path: Path) -> None:
    code, said = typed("search", file, "--dry-run", "--out", tmp_path / "out")
    assert code == 0
    # Lossless: hash and qr. Per budget: both at two budgets, and full without one. One reference; two seeds of all.
    assert f"7 studies, 2 seeds each; at most {(7 * 7 + 1) * 2} runs" in said
    assert not (tmp_path / "out").exists()
    code, said = typed("search", file, "--dry-run", "--out", tmp_path / "out", "--set", "search={minutes: 3}")
    assert "at most 3 min" in said


def test_a_suite_without_a_search_is_told_what_to_add(file: Path) -> None:
    code, said = typed("search", file, "--set", "search=null")
    assert code == 2
    assert "add a line like 'search: {modes: [lossless]}'" in said


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("search={trials: 3, minutes: 2}", "either the same number of 'trials' or the same 'minutes'"),
        ("search={seeds: [0]}", "search.seeds: 0 is also one of the suite's seeds"),
        ("search={methods: [qrr]}", "no method of the suite is called 'qrr'; did you mean 'qr'?"),
        ("search={between: [0.5, 0.1]}", "search.between: the smaller budget comes first"),
        ("search={objectives: [bytes, lookup], modes: pareto}", "'auc' must be among them"),
        ("search={tolerance: not_worse}", "needs 3 seeds or more"),
        ("search={storage: my.journal}", "an Optuna storage is an address like sqlite:///search.db"),
        ("search={modes: [losless]}", "did you mean 'lossless'?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(file: Path, setting: str, told: str) -> None:
    code, said = typed("validate", file, "--set", setting)
    assert code == 2
    assert told in said


def test_per_budget_needs_budgets_and_lossless_does_not(file: Path) -> None:
    code, said = typed("validate", file, "--set", "budgets=[]")
    assert "'per_budget' needs 'budgets'" in said
    code, _ = typed("validate", file, "--set", "budgets=[]", "--set", "search={modes: lossless}")
    assert code == 0
    code, said = typed("plan", file, "--set", "budgets=[]", "--set", "search={modes: lossless}")
    assert code == 2
    assert "'sharkbench search' finds some" in said


def test_lines_for_a_pipe_and_a_table_for_a_terminal(bench: Bench) -> None:
    events: list[SearchEvent] = bench.events
    searched = bench.search(modes=["lossless", "per_budget"], trials=3, tune="learning_rate", pruning=False)
    lines, screen = io.StringIO(), io.StringIO()
    with SearchProgress(2, Console(file=lines, width=200)) as plain:
        for event in events:
            plain(event)
        plain(Message("one line"))
    for said in ("best so far: AUC 0.", "(default)", "one line"):
        assert said in lines.getvalue()
    trials = sum(len(search.finished) for search in searched.searches)
    assert sum(": trial " in line for line in lines.getvalue().splitlines()) == trials

    for search in searched.searches:
        search.over = False
    with SearchProgress(2, Console(file=screen, width=120, force_terminal=True, color_system=None)) as live:
        live(SearchesOpened(searched.searches))
        assert live.time_left() is None  # nothing has ended in this call
        started = next(event for event in events if isinstance(event, RunStarted))
        live(started)
        live.live.refresh()
    assert "0 of 5 searches over" in screen.getvalue()
    assert "per_budget: synthetic/dnn hash at 0.3" in screen.getvalue()
    assert "starting" in screen.getvalue()
    assert f"going on where {trials} trials had ended" in screen.getvalue()


def test_what_was_found_is_printed_and_written(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    from sharkbench.cli.console import table

    searched = bench.search(modes=["lossless", "pareto"], trials=6, tune="learning_rate", tolerance=0.0001)
    print_found(searched, table)
    said = capsys.readouterr().out
    assert "lossless: the smallest table that loses nothing" in said
    assert "Every study had the same share, 6 trials" in said
    page = write_report(searched)[0].read_text()
    for found in found_in(searched):
        assert found.choice.label in page
        assert found.choice.label in said
    assert "Hypervolume" in page
    assert "://" not in page.replace("http://www.w3.org/", "")


def test_plots_that_are_left_out_are_told_with_what_to_install(
    bench: Bench, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = bench.search(modes="lossless", trials=2)
    monkeypatch.setattr(conduct, "run_search", lambda *suite, **settings: searched)
    code, said = typed("search", file, "--out", bench.out)
    assert code == 0
    assert "plots.html" in said
    assert plots.MISSING not in said

    monkeypatch.setattr(plots, "drawable", lambda: False)
    code, said = typed("search", file, "--out", bench.out)
    assert code == 0
    assert "plots.html" not in said
    assert plots.MISSING in said
    assert plots.MISSING in html.unescape((searched.folder / "report.html").read_text())
