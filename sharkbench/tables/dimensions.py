"""The dimension of each field's rows: bytes of projected rows, and budgets spent to the last dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from struct import pack, unpack

from sharkbench.errors import Infeasible
from sharkbench.formats.projected import Projected

Worth = Callable[[int, int, int], float]
CLOSE = 0.98
"""Share of the budget from which on it counts as used up."""


def field_bytes(rows: int, dimension: int, width: int, bias: bool = False) -> int:
    """Bytes of ``rows`` rows of ``dimension`` weights and the matrix (and bias) that maps them to ``width``, fp32.

    Rows of the full ``width`` need neither.
    """
    return Projected.bytes_of([rows], [dimension], width, biases=[bias and dimension < width])


def projected_bytes(rows: Sequence[int], dimensions: Sequence[int], width: int, bias: bool = False) -> int:
    """Bytes of the packed layer whose field ``f`` has ``rows[f]`` rows of ``dimensions[f]`` weights."""
    return sum(field_bytes(n, d, width, bias) for n, d in zip(rows, dimensions, strict=True))


def largest_short(rows: int, width: int, bias: bool = False) -> int:
    """The largest dimension below ``width`` that takes fewer bytes than full rows do; 0 where none does."""
    return min(width - 1, max(0, ceil((rows - bias) * width / (rows + width)) - 1))


def sized_to_budget(
    wanted: Callable[[float], Sequence[float]],
    rows: Sequence[int],
    width: int,
    budget: int,
    *,
    what: str,
    bias: bool = False,
) -> tuple[int, ...]:
    """Dimensions ``wanted(t)``, ``t`` the largest float in [0, 1] at which the packed bytes meet ``budget``.

    ``wanted`` must not fall as ``t`` grows. It is called some sixty times: bisection is over all floats, so ``t`` is as
    exact close to 0 as elsewhere. Its values are rounded (half to even, never below one), then the remaining bytes are
    spent, first for the field that lacks most of its wanted dimension (:func:`spend`).

    Args:
        wanted: per field, a real-valued dimension.
        rows: of each field.
        width: weights of a full row.
        budget: bytes.
        what: names the method in the reason.

    Raises:
        Infeasible: even one weight per row takes more bytes.
    """

    def rounded(t: float) -> list[int]:
        return [whole_if_no_larger(n, round(max(1.0, d)), width, bias) for n, d in zip(rows, wanted(t), strict=True)]

    refuse_below_one(rows, width, budget, what=what, bias=bias)
    low, high = 0, _place(1.0) + 1
    while high - low > 1:
        middle = (low + high) // 2
        fits = projected_bytes(rows, rounded(_at(middle)), width, bias) <= budget
        low, high = (middle, high) if fits else (low, middle)
    target, start = wanted(_at(low)), rounded(_at(low))
    if projected_bytes(rows, start, width, bias) > budget:
        start = fewest(rows, width, bias)
    return tuple(spend(start, lambda f, d, _: target[f] - d, rows, width, budget, bias))


def _place(number: float) -> int:
    """Rank of a non-negative float among all floats in order: 0 for 0, 1 for the next float."""
    return int.from_bytes(pack(">d", number), "big")


def _at(place: int) -> float:
    return float(unpack(">d", place.to_bytes(8, "big"))[0])


def spend(
    dimensions: Sequence[int], worth: Worth, rows: Sequence[int], width: int, budget: int, bias: bool = False
) -> list[int]:
    """``dimensions``, raised step by step as long as the packed bytes stay within ``budget``.

    Of the steps that fit, the one of the largest worth comes first. A step is one dimension, or to full rows where a
    matrix no longer saves bytes. Where no step fits and more than 2% of the budget is left, a field takes a step at the
    cost of the dimensions worth least elsewhere, if that uses more of the budget.

    Args:
        dimensions: initial ones, which fit.
        worth: ``worth(field, from dimension, to dimension)`` of a step.
    """
    best = _steps(dimensions, worth, rows, width, budget, bias)
    for f in sorted(range(len(rows)), key=lambda f: -rows[f]):
        if projected_bytes(rows, best, width, bias) >= CLOSE * budget:
            break
        other = _swapped(best, f, worth, rows, width, budget, bias)
        if projected_bytes(rows, other, width, bias) > projected_bytes(rows, best, width, bias):
            best = other
    return best


def _steps(
    dimensions: Sequence[int], worth: Worth, rows: Sequence[int], width: int, budget: int, bias: bool
) -> list[int]:
    dimensions = list(dimensions)
    left = budget - projected_bytes(rows, dimensions, width, bias)
    while True:
        steps = []
        for f, (n, d) in enumerate(zip(rows, dimensions, strict=True)):
            larger = whole_if_no_larger(n, d + 1, width, bias)
            cost = field_bytes(n, larger, width, bias) - field_bytes(n, d, width, bias)
            if d < width and cost <= left:
                steps.append((-worth(f, d, larger), f, larger, cost))
        if not steps:
            return dimensions
        _, f, larger, cost = min(steps)
        dimensions[f], left = larger, left - cost


def _swapped(
    dimensions: Sequence[int], field: int, worth: Worth, rows: Sequence[int], width: int, budget: int, bias: bool
) -> list[int]:
    """One step more for ``field``, as few dimensions less for the others as make room, then all that still fits."""
    changed = list(dimensions)
    if changed[field] < width:
        changed[field] = whole_if_no_larger(rows[field], changed[field] + 1, width, bias)
    while (over := projected_bytes(rows, changed, width, bias) - budget) > 0:
        steps = []
        for f, (n, d) in enumerate(zip(rows, changed, strict=True)):
            smaller = min(d - 1, largest_short(n, width, bias))
            if f != field and smaller >= 1:
                freed = field_bytes(n, d, width, bias) - field_bytes(n, smaller, width, bias)
                steps.append((freed < over, worth(f, smaller, d), f, smaller))
        if not steps:
            return list(dimensions)
        _, _, f, smaller = min(steps)
        changed[f] = smaller
    return _steps(changed, worth, rows, width, budget, bias)


def whole_if_no_larger(rows: int, dimension: int, width: int, bias: bool = False) -> int:
    """``dimension``, or ``width`` where short rows and their matrix would take as many bytes as full rows."""
    return dimension if dimension <= largest_short(rows, width, bias) else width


def fewest(rows: Sequence[int], width: int, bias: bool = False) -> list[int]:
    """Dimensions with the fewest bytes: one weight per row, or full rows where a matrix would cost more."""
    return [whole_if_no_larger(n, 1, width, bias) for n in rows]


def refuse_below_one(rows: Sequence[int], width: int, budget: int, *, what: str, bias: bool = False) -> None:
    """Raises Infeasible where one weight per row, with the matrices, takes more than ``budget`` bytes."""
    least = projected_bytes(rows, fewest(rows, width, bias), width, bias)
    if least > budget:
        raise Infeasible(
            f"{what}: one number per row and the matrices take {least:,} bytes already, the budget is {budget:,}; "
            "raise the budget or the suite's dimension, or share rows (hash, qr)"
        )
