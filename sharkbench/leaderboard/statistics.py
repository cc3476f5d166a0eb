"""Statistics over seeds: paired differences, their intervals and tests, and ranks that are shared without significance.

Seeds are paired: with the same seed every method gets the same batches and the same initial backbone, so the difference
of two methods is computed seed by seed, which removes the common effect of the seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from scipy import special

MIN_SEEDS = 3
"""Fewer seeds give no interval, no test and no rank: with two, the 95% interval is 9 standard deviations wide."""
CONFIDENCE = 0.95

Name = TypeVar("Name", bound=Hashable)
BySeed = Mapping[Any, float]
"""Values by pairing key: the seed, and the other properties that paired runs must share."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval; an end without a bound is infinite."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """The mean of a paired difference over the seeds that both sides have.

    ``interval`` (95%, Student's t with ``n - 1`` degrees of freedom) and ``p`` (two-sided paired t-test of "no
    difference") are ``None`` for fewer than :data:`MIN_SEEDS` seeds.
    """

    mean: float
    n: int
    interval: Interval | None
    p: float | None

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes 0, so that the difference is significant."""
        return self.interval is not None and 0.0 not in self.interval


def paired_difference(own: BySeed, other: BySeed) -> Difference | None:
    """``own`` minus ``other``, seed by seed; ``None`` if they have no seed in common.

    If the difference is the same for every seed to the last bit, there is no spread to estimate: the interval is then a
    point, and ``p`` is 1 for a difference of 0 and 0 otherwise.
    """
    differences = [value - other[seed] for seed, value in own.items() if seed in other]
    n = len(differences)
    if not n:
        return None
    mean = statistics.fmean(differences)
    if n < MIN_SEEDS:
        return Difference(mean, n, None, None)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1) / n)
    if max(differences) == min(differences) or not error:
        mean = differences[0]  # the mean of equal numbers may differ from them by rounding
        return Difference(mean, n, Interval(mean, mean), float(mean == 0))
    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return Difference(mean, n, Interval(mean - half, mean + half), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error rate (Holm, Scand. J. Statist. 1979): the i-th smallest of m
    is multiplied by m - i + 1, and none is smaller than its predecessor."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - position)))
        adjusted[index] = highest
    return adjusted


def shared_ranks(entrants: Mapping[Name, BySeed]) -> dict[Name, int]:
    """Ranks from 1 (highest mean) of the entrants that have at least :data:`MIN_SEEDS` seeds; the others have none.

    From the top down, an entrant shares the rank of the one above it if the interval of their paired difference
    contains 0, unless its difference to the first entrant of that rank is significant: without this condition, a chain
    of small steps would put the best and the worst on one rank. After a rank that k entrants share, the next is k
    further on. Two entrants with fewer than :data:`MIN_SEEDS` common seeds share a rank.
    """
    means = {name: statistics.fmean(seeds.values()) for name, seeds in entrants.items() if len(seeds) >= MIN_SEEDS}
    ordered = sorted(means, key=lambda name: -means[name])
    ranks: dict[Name, int] = {}
    for position, name in enumerate(ordered):
        if position:
            above, rank = ordered[position - 1], ranks[ordered[position - 1]]
            if not _told_apart(entrants, above, name) and not _told_apart(entrants, ordered[rank - 1], name):
                ranks[name] = rank
                continue
        ranks[name] = position + 1
    return ranks


def _told_apart(entrants: Mapping[Name, BySeed], one: Name, other: Name) -> bool:
    difference = paired_difference(entrants[one], entrants[other])
    return difference is not None and difference.resolved
