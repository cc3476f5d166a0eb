"""The statistics of the leaderboard against scipy and statsmodels, and against simulations with known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sharkbench.leaderboard.statistics import MIN_SEEDS, Interval, holm, paired_difference, shared_ranks

SEEDS = st.dictionaries(st.integers(0, 30), st.floats(0, 1, allow_nan=False), min_size=1, max_size=12)


@settings(deadline=None)
@given(SEEDS, SEEDS)
def test_a_paired_difference_is_that_of_scipy(own: dict[int, float], other: dict[int, float]) -> None:
    difference = paired_difference(own, other)
    common = sorted(own.keys() & other.keys())
    if not common:
        assert difference is None
        return
    assert difference is not None
    a, b = [own[s] for s in common], [other[s] for s in common]
    assert difference.n == len(common)
    assert difference.mean == pytest.approx(np.mean(np.subtract(a, b)), abs=1e-12)
    if len(common) < MIN_SEEDS:
        assert difference.interval is None
        assert difference.p is None
        assert not difference.resolved
        return
    assert difference.interval is not None
    spread = float(np.ptp(np.subtract(a, b)))
    if spread < 1e-9:  # beyond what scipy's own rounding can tell
        assert difference.interval.half_width < 1e-8
        return
    expected = stats.ttest_rel(a, b)
    bounds = expected.confidence_interval(0.95)
    assert difference.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)
    assert difference.resolved == (not bounds.low <= 0 <= bounds.high)


def test_equal_differences_leave_no_spread() -> None:
    same = {0: 0.7, 1: 0.8, 2: 0.9}
    none = paired_difference(same, same)
    assert none is not None
    assert (none.mean, none.interval, none.p, none.resolved) == (0.0, Interval(0.0, 0.0), 1.0, False)
    half = paired_difference({0: 1.0, 1: 1.5, 2: 2.0}, {0: 0.5, 1: 1.0, 2: 1.5})
    assert half is not None
    assert (half.mean, half.interval, half.p, half.resolved) == (0.5, Interval(0.5, 0.5), 0.0, True)


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(0)
    truth, trials = 0.002, 3000
    seed_effect = rng.normal(0.75, 0.01, (trials, n))  # five times the effect: pairing has to remove it
    own = seed_effect + rng.normal(truth, 0.001, (trials, n))
    covered = rejected = 0
    for a, b, null in zip(own, seed_effect, own - truth, strict=True):
        difference = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
        under_null = paired_difference(dict(enumerate(null)), dict(enumerate(b)))
        assert difference is not None
        assert difference.interval is not None
        assert under_null is not None
        assert under_null.p is not None
        covered += truth in difference.interval
        rejected += under_null.p < 0.05
    tolerance = 4 * math.sqrt(0.05 * 0.95 / trials)
    assert covered / trials == pytest.approx(0.95, abs=tolerance)
    assert rejected / trials == pytest.approx(0.05, abs=tolerance)


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001]) == pytest.approx([1.0, 1.0, 0.003])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(p_values: list[float]) -> None:
    """A hypothesis is rejected where every set of hypotheses that holds it is: Holm's shortcut gives the same p."""
    indices = range(len(p_values))
    sets = [chosen for size in indices for chosen in itertools.combinations(indices, size + 1)]
    joint = {chosen: min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in sets}
    expected = [max(p for chosen, p in joint.items() if i in chosen) for i in indices]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_holm_keeps_the_chance_of_any_false_positive_at_the_level() -> None:
    rng = np.random.default_rng(1)
    trials, methods, seeds = 1000, 8, 5
    any_false = plain = 0
    for _ in range(trials):
        full = dict(enumerate(rng.normal(size=seeds)))
        p_values = []
        for _ in range(methods):
            own = {seed: value + rng.normal() for seed, value in full.items()}
            difference = paired_difference(own, full)
            assert difference is not None
            assert difference.p is not None
            p_values.append(difference.p)
        plain += min(p_values) < 0.05
        any_false += min(holm(p_values)) < 0.05
    assert plain / trials > 0.25  # what Holm is for
    assert any_false / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def _noisy(mean: float, *noise: float) -> dict[int, float]:
    return {seed: mean + value for seed, value in enumerate(noise)}


def test_ranks_are_shared_where_seeds_cannot_tell() -> None:
    entrants = {
        "worst": _noisy(0.60, 0.0, 0.001, -0.001),
        "best": _noisy(0.80, 0.001, 0.0, -0.001),
        "as good": _noisy(0.7995, -0.001, 0.0, 0.001),
        "two seeds": {0: 0.9, 1: 0.9},
    }
    assert shared_ranks(entrants) == {"best": 1, "as good": 1, "worst": 3}
    assert shared_ranks({}) == {}


def test_a_chain_of_small_steps_does_not_put_best_and_worst_on_one_rank() -> None:
    # Neighbours overlap; the first and the third do not.
    first, second, third = (
        _noisy(0.73, 0.004, 0.0, -0.004),
        _noisy(0.72, -0.006, 0.0, 0.006),
        _noisy(0.71, 0.004, 0.0, -0.004),
    )
    assert shared_ranks({"a": first, "b": second, "c": third}) == {"a": 1, "b": 1, "c": 3}


def test_entrants_without_common_seeds_share() -> None:
    assert shared_ranks({"a": {0: 0.9, 1: 0.9, 2: 0.9}, "b": {3: 0.1, 4: 0.1, 5: 0.1}}) == {"a": 1, "b": 1}


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_ranks_fall_with_the_mean_and_skip_after_ties(values: list[list[float]]) -> None:
    entrants = {i: dict(enumerate(seeds)) for i, seeds in enumerate(values)}
    ranks = shared_ranks(entrants)
    ordered = sorted(ranks, key=lambda i: -math.fsum(values[i]) / 3)
    assert sorted(ranks) == sorted(entrants)
    assert ranks[ordered[0]] == 1
    for rank in set(ranks.values()):
        assert sum(1 for other in ranks.values() if other < rank) == rank - 1


def test_no_difference_gives_one_rank_for_all_nearly_always() -> None:
    rng = np.random.default_rng(2)
    split = 0
    for _ in range(500):
        seed_effect = rng.normal(size=5)
        entrants = {i: dict(enumerate(seed_effect + rng.normal(scale=0.1, size=5))) for i in range(3)}
        split += max(shared_ranks(entrants).values()) > 1
    assert split / 500 < 0.25  # the best against the worst of three, each pair tested at 5%
