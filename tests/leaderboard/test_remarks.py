"""What is remarked of a row is seen in every view."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sharkbench.leaderboard import write
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.remarks import MANY
from sharkbench.leaderboard.report.content import runs_of, warnings
from sharkbench.leaderboard.report.rows import headings, row_of
from sharkbench.leaderboard.standings import Standing, standings_of
from sharkbench.leaderboard.terminal import print_leaderboard
from sharkbench.results.records import BUSY_PERCENT
from sharkbench.results.store import Store
from sharkbench.tasks.ctr import Ctr
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]
FULL = [0.750, 0.760, 0.755]
SHOWN = headings({"ctr": Ctr.metrics})


def fill(add_run: AddRun, method: str, budget: float | None, aucs: list[float], other_cpu: float = 0.0) -> None:
    for seed, auc in enumerate(aucs):
        speed = speed_of(0.5).model_copy(update={"other_cpu_percent": other_cpu if seed == 1 else 0.0})
        add_run(method, budget, seed, {"click": auc}, speed=speed)


def views(out: Path, method: str) -> tuple[str, str, str]:
    """What the terminal shows, and the remarks of a method in leaderboard.csv and in the report."""
    standings = standings_of(cells_of(Store(out)))
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as shown:
        print_leaderboard(out, console, standings)
    write(out)
    with (out / "leaderboard.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["method"] == method)
    names = [heading.name for heading in SHOWN]
    own = next(standing for standing in standings if standing.cell.name.method == method)
    return shown.get(), row["remarks"], row_of(own, SHOWN).entries[names.index("remarks")].text


def improved(by: float) -> list[float]:
    return [auc + by + 0.0001 * i for i, auc in enumerate(FULL)]


def test_what_beats_full_precision_is_remarked_in_every_view(add_run: AddRun, out: Path) -> None:
    fill(add_run, "full", None, FULL)
    fill(add_run, "better", 0.25, improved(0.01))
    fill(add_run, "worse", 0.25, improved(-0.01))
    fill(add_run, "as good", 0.25, [FULL[0] + 0.01, FULL[1] - 0.005, FULL[2] + 0.002])
    for text in views(out, "better"):
        assert "better than full precision by more than its interval" in text
    for method in ("worse", "as good", "full"):
        _, in_csv, in_report = views(out, method)
        assert in_csv == in_report == ""


@pytest.mark.parametrize("beating", [MANY - 1, MANY])
def test_full_precision_that_many_beat_is_remarked(add_run: AddRun, out: Path, beating: int) -> None:
    fill(add_run, "full", None, FULL)
    for number in range(beating):
        for budget in (0.5, 0.25):  # a method counts once
            fill(add_run, f"m{number}", budget, improved(0.01))
    fill(add_run, "worse", 0.25, improved(-0.01))
    for text in views(out, "full"):
        assert (f"beaten by {beating} of {beating + 1} methods" in text) == (beating == MANY)


def test_speeds_of_a_busy_machine_are_marked_in_every_view(add_run: AddRun, out: Path) -> None:
    fill(add_run, "full", None, FULL, other_cpu=BUSY_PERCENT)
    fill(add_run, "hash", 0.25, improved(-0.01), other_cpu=BUSY_PERCENT + 112)
    shown, in_csv, in_report = views(out, "hash")
    [of_full, of_hash] = [line for line in shown.splitlines() if " 0.7" in line]
    assert "0.5x?" in of_hash
    assert "?" not in of_full
    assert in_csv == in_report == "timed on a busy machine: other processes used up to 137% of a core (1 of 3 seeds)"
    standings: dict[str, Standing] = {s.cell.name.method: s for s in standings_of(cells_of(Store(out)))}
    speeds = [row_of(standings[method], SHOWN).entries for method in ("full", "hash")]
    place = [heading.name for heading in SHOWN].index("lookups")
    assert [entries[place].text for entries in speeds] == ["0.5x", "0.5x?"]
    assert any("marked ?" in text for text in warnings(runs_of(s.cell for s in standings.values())))
    with (out / "leaderboard.csv").open() as file:
        percent = {row["method"]: float(row["other_cpu_percent"]) for row in csv.DictReader(file)}
    assert percent == {"full": BUSY_PERCENT, "hash": BUSY_PERCENT + 112}
    with (out / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    marked = [(row["method"], row["seed"]) for row in rows if row["timed_on_a_busy_machine"] == "true"]
    assert marked == [("hash", "1")]
