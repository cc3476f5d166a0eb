"""Shapes of tensor trains: factors of rows and columns, and the ranks that fit into a number of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Self


@dataclass(frozen=True)
class TrainShape:
    """Cores ``k = 1..K`` of ``[n_k, r_{k-1}, d_k, r_k]``, ``r_0 = r_K = 1``: rows ``prod n_k``, columns ``prod d_k``.

    Attributes:
        rows: ``n_k``, the most significant digit first.
        columns: ``d_k``.
        ranks: ``r_1 .. r_{K-1}``.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    ranks: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, columns: int, cores: int) -> Self:
        """A train of rank 1 with near-equal factors for ``rows`` rows of ``columns`` values."""
        return cls(row_factors(rows, cores), column_factors(columns, cores), (1,) * (cores - 1))

    def with_rank(self, rank: int) -> Self:
        """The same factors, every rank at ``rank`` or at its own maximum."""
        return replace(self, ranks=tuple(min(rank, most) for most in self.largest_ranks))

    def within(self, numbers: int) -> Self:
        """The same factors with the largest common rank that takes at most ``numbers`` weights, at least rank 1."""
        low, high = 1, max(self.largest_ranks) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.with_rank(middle).numbers <= numbers else (low, middle)
        return self.with_rank(low)

    def raised(self) -> list[Self]:
        """The shapes with one rank raised by one, the lowest rank first; none beyond :attr:`largest_ranks`."""
        order = sorted(range(len(self.ranks)), key=lambda k: (self.ranks[k], k))
        return [
            replace(self, ranks=(*self.ranks[:k], self.ranks[k] + 1, *self.ranks[k + 1 :]))
            for k in order
            if self.ranks[k] < self.largest_ranks[k]
        ]

    @property
    def largest_ranks(self) -> tuple[int, ...]:
        """The largest ranks that a matrix of this size can have (the product of all factors on one side)."""
        sizes = [n * d for n, d in zip(self.rows, self.columns, strict=True)]
        return tuple(min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes)))

    @property
    def cores(self) -> list[tuple[int, int, int, int]]:
        """Shape of each core."""
        before, after = (1, *self.ranks), (*self.ranks, 1)
        return list(zip(self.rows, before, self.columns, after, strict=True))

    @property
    def numbers(self) -> int:
        return sum(prod(core) for core in self.cores)


def row_factors(rows: int, cores: int) -> tuple[int, ...]:
    """Near-equal factors whose product is ``rows`` or slightly more, the largest first."""
    factors = []
    for left in range(cores, 0, -1):
        factor = _root(rows, left)
        factors.append(factor)
        rows = -(-rows // factor)
    return tuple(factors)


def column_factors(columns: int, cores: int) -> tuple[int, ...]:
    """Factors whose product is ``columns``, as equal as possible, small ones inside, where ranks count twice."""
    divisors = [d for d in range(1, columns + 1) if columns % d == 0]
    heads = (head for head in product(divisors, repeat=cores - 1) if columns % prod(head) == 0)
    best = min((sorted([*head, columns // prod(head)]) for head in heads), key=lambda f: (sum(f), f))
    outside = best[-2:]
    return (outside[0], *best[:-2], outside[1])


def _root(value: int, degree: int) -> int:
    """The least integer whose ``degree``-th power is at least ``value``."""
    root = max(1, round(value ** (1 / degree)))
    while root**degree < value:
        root += 1
    while root > 1 and (root - 1) ** degree >= value:
        root -= 1
    return root
