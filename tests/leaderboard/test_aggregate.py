"""One line per method: failures count as worst, speeds of different hardware are not mixed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharkbench.leaderboard.aggregate import Summary, area, smallest, summaries
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.standings import standings_of
from sharkbench.results.store import Store
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def _summaries(out: Path) -> dict[str, Summary]:
    return {summary.method: summary for summary in summaries(standings_of(cells_of(Store(out))))}


def _fill(add_run: AddRun, method: str, budget: float | None, auc: float, **changes: object) -> None:
    for seed in range(3):
        add_run(method, budget, seed, {"click": auc + (seed - 1) * 1e-5}, **changes)


def _fail(add_run: AddRun, method: str, budget: float, status: str = "failed") -> None:
    for seed in range(3):
        add_run(method, budget, seed, None, status=status, reason="because")


def test_the_area_averages_what_is_kept_over_log_bytes() -> None:
    # A third of the log bytes each at .1, .1 * 10^(1/3), .1 * 10^(2/3).
    points = [(0.1, 0.6), (0.1 * 10 ** (1 / 3), 0.7), (0.1 * 10 ** (2 / 3), 0.8)]
    assert area(points, 0.8, 0.1, 0.5) == pytest.approx((1 / 3 + 2 / 3 + 1) / 3)
    assert area(points[2:], 0.8, 0.1, 0.5) == pytest.approx(1 / 3)  # nothing below its smallest point
    assert area([(0.01, 0.8)], 0.8, 0.1, 0.5) == pytest.approx(
        1.0
    )  # smaller than asked is no better than what was asked
    assert area([], 0.8, 0.1, 0.5) == 0.0
    assert area(points, 0.5, 0.1, 0.5) is None
    assert area(points, 0.8, 1.0, 0.5) is None
    assert area(points, 0.8, 0.1, None) is None, "nothing says what knowing nothing is worth"


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.5, 0.8)), max_size=6))
def test_the_area_lies_between_chance_and_full_precision(points: list[tuple[float, float]]) -> None:
    kept = area(points, 0.8, 0.05, 0.5)
    assert kept is not None
    assert -1e-9 <= kept <= 1 + 1e-9


def test_the_smallest_within_a_tenth_of_a_percent() -> None:
    assert smallest([(0.5, 0.8), (0.25, 0.7993), (0.1, 0.79)], 0.8) == 0.25
    assert smallest([(0.5, 0.79)], 0.8) is None
    assert smallest([(0.5, -0.8), (0.25, -0.8007), (0.1, -0.81)], -0.8) == 0.25, "of what is better the lower it is"


def test_failed_and_infeasible_cells_count_as_worst(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, 0.80)
    for method, better in (("good", 0.001), ("fair", 0.0)):
        _fill(add_run, method, 0.5, 0.79 + better)
        _fill(add_run, method, 0.1, 0.75 + better)
    _fill(add_run, "fails low", 0.5, 0.80)
    _fail(add_run, "fails low", 0.1, "infeasible")
    _fail(add_run, "fails", 0.5)
    _fail(add_run, "fails", 0.1)
    found = _summaries(out)
    assert "full" not in found
    assert found["good"].mean_rank == pytest.approx((2 + 1) / 2)
    assert found["fair"].mean_rank == pytest.approx((3 + 2) / 2)
    assert found["fails low"].mean_rank == pytest.approx((1 + 3.5) / 2)  # two share the last of four places
    assert found["fails"].mean_rank == pytest.approx((4 + 3.5) / 2)
    assert (found["fails low"].failed, found["fails"].failed, found["good"].failed) == (1, 2, 0)
    assert found["fails"].area == 0.0
    low = math.log(5) / math.log(10)  # share of the log bytes below a half
    assert found["fails low"].area == pytest.approx(1 - low, abs=1e-3)
    assert found["good"].area == pytest.approx(low * 0.251 / 0.3 + (1 - low) * 0.291 / 0.3, abs=1e-3)
    assert found["fails low"].smallest == pytest.approx(0.5)
    assert (found["good"].smallest, found["good"].lossless, found["good"].sections) == (1.0, 0, 1)


def test_ties_share_the_mean_of_their_places(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, 0.80)
    for method in ("a", "b"):
        _fill(add_run, method, 0.5, 0.79)
    _fill(add_run, "c", 0.5, 0.7)
    found = _summaries(out)
    assert [found[m].mean_rank for m in "abc"] == [1.5, 1.5, 3.0]


def test_too_few_seeds_give_no_mean_rank_but_an_area(add_run: AddRun, out: Path) -> None:
    add_run("full", None, 0, {"click": 0.8})
    add_run("hash", 0.25, 0, {"click": 0.8})
    found = _summaries(out)["hash"]
    assert (found.mean_rank, found.ranked) == (None, 0)
    assert found.area == pytest.approx(1.0)


def test_lookups_are_aggregated_as_ratios_of_the_same_measurement(add_run: AddRun, out: Path) -> None:
    _fill(add_run, "full", None, 0.80)
    _fill(add_run, "hash", 0.5, 0.79, speed=speed_of(4.0, hardware="a slow machine"))
    _fill(add_run, "hash", 0.1, 0.75, speed=speed_of(1.0, hardware="a fast machine"))
    assert _summaries(out)["hash"].lookup_ratio == pytest.approx(2.0)
    assert _summaries(out)["hash"].smallest == 1.0
