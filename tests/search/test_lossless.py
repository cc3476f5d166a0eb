"""The smallest budget that loses nothing: near a fine grid's, for a fraction of its runs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from sharkbench.search.lossless import Probe, excess, next_budget, smallest
from tests.search.conftest import Bench
from tests.search.fakes import KNEES

TOLERANCE, PRECISION = 0.001, 0.05


def searched(between: tuple[float, float], probe: Callable[[float], Probe]) -> list[Probe]:
    probes: list[Probe] = []
    while (budget := next_budget(probes, between, PRECISION)) is not None:
        probes.append(probe(budget))
        assert len(probes) < 100
    return probes


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("low", [0.001, 0.01])
def test_it_lands_where_a_fine_grid_does_with_a_third_of_its_runs(seed: int, low: float) -> None:
    rng = random.Random(seed)
    knee, slope = math.exp(rng.uniform(math.log(2 * low), math.log(0.9))), rng.uniform(0.01, 0.05)

    def probe(budget: float) -> Probe:
        lost = slope * max(0.0, math.log(knee / budget)) + rng.gauss(0, slope / 200)
        return Probe(budget, budget, lost - TOLERANCE)

    count = round(math.log(1 / low) / math.log(1.05))
    grid = [probe(low ** (i / count)) for i in range(count + 1)]
    in_the_grid, probes = smallest(grid), searched((low, 1.0), probe)
    found = smallest(probes)

    assert found is not None
    assert in_the_grid is not None
    assert 1 / 1.1 <= found.budget / in_the_grid.budget <= 1.1
    assert 3 * len(probes) <= len(grid)


def test_sizes_that_come_in_steps_are_tried_once_each() -> None:
    sizes = [2.0**-power for power in range(8)]

    def probe(budget: float) -> Probe:
        used = max((size for size in sizes if size <= budget), default=0.0)
        return Probe(budget, used, -0.001 if used >= 1 / 8 else 0.01 if used else math.inf)

    probes = searched((0.001, 1.0), probe)
    assert smallest(probes).used == 1 / 8  # type: ignore[union-attr]
    good = [probe.used for probe in probes if probe.excess <= 0]
    assert len(good) == len(set(good))


def test_a_small_table_may_be_better_than_a_large_one() -> None:
    def probe(budget: float) -> Probe:
        return Probe(budget, budget, -0.001 if 0.1 <= budget <= 0.4 else 0.002)

    found = smallest(searched((0.001, 1.0), probe))
    assert found is not None
    assert 0.1 <= found.budget <= 0.105


def test_a_method_that_is_never_good_enough_is_left_early() -> None:
    probes = searched((0.001, 1.0), lambda budget: Probe(budget, budget, 0.01 / budget))
    assert smallest(probes) is None
    assert len(probes) == 3
    assert len(searched((0.001, 1.0), lambda budget: Probe(budget, budget, math.inf))) == 2


def test_loss_is_paired_by_seed() -> None:
    full, own = {1: 0.8, 2: 0.7, 3: 0.9}, {1: 0.799, 2: 0.699, 3: 0.899}
    assert excess(full, own, 0.001) == pytest.approx(0.0, abs=1e-12)
    assert excess(full, own, 0.002) == pytest.approx(-0.001)


def test_not_worse_asks_whether_a_loss_shows() -> None:
    full = dict.fromkeys(range(5), 0.8)
    clear = {seed: 0.799 + 0.0001 * (seed - 2) for seed in full}
    hidden = {seed: 0.799 + 0.01 * (seed - 2) for seed in full}

    assert excess(full, clear, "not_worse") > 0
    assert excess(full, hidden, "not_worse") <= 0


def test_a_search_finds_the_planted_knees(bench: Bench) -> None:
    searched = bench.search(modes="lossless", trials=12, tolerance=TOLERANCE)

    found = {search.entry.label: search.best() for search in searched.searches}
    for method, knee in KNEES.items():
        edge = knee * math.exp(-TOLERANCE / 0.02)
        best = found[method]
        assert best is not None
        assert edge / 1.1 <= best.outcome.bytes_ratio <= edge * 1.1
        assert best.default
    assert all(search.over for search in searched.searches)
    assert len(set(bench.diary("began"))) == len(bench.diary("began"))


def test_a_method_that_takes_no_budget_is_judged_as_it_is(bench: Bench) -> None:
    [search] = bench.search(modes="lossless", methods=["full", {"name": "hash", "fraction": 0.5}]).searches
    assert len(search.finished) == 1
    assert search.best() is not None
