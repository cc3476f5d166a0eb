"""Sizes solved from a budget of bytes before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.formats.shape import TableShape

UNLIMITED = 1 << 62
"""Budget in bytes where none is given."""


@dataclass(frozen=True)
class Size:
    """What a method decides before it trains, from its settings and the budget.

    A method that decides something has a subclass. A field with the name of a setting holds the value of the setting:
    given, or else solved from the budget.
    """


@dataclass(frozen=True)
class SmallFieldsSize(Size):
    """Size of a method that leaves small fields uncompressed.

    Attributes:
        threshold: fields of at most so many rows keep a row per id.
    """

    threshold: int


SizeT = TypeVar("SizeT", bound=SmallFieldsSize)


def largest_fraction(nbytes: Callable[[float], int], budget: int, *, what: str) -> float:
    """The largest fraction in (0, 1] whose exact byte count meets the budget, to one part in a million.

    Args:
        nbytes: exact bytes at a fraction; must not fall as the fraction grows.
        budget: bytes.
        what: names the method in the reason.

    Raises:
        Infeasible: even the smallest fraction is too large.
    """
    if nbytes(1.0) <= budget:
        return 1.0
    low, high = 0, 1_000_000
    if (smallest := nbytes(1 / high)) > budget:
        raise Infeasible(f"{what} needs at least {smallest:,} bytes, the budget is {budget:,}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if nbytes(middle / 1_000_000) <= budget else (low, middle)
    return max(low, 1) / 1_000_000


def small_field_rows(shape: TableShape, budget: int, most: int = 200) -> int:
    """Fields of at most so many rows are worth leaving uncompressed: they are informative and take few bytes.

    ``most`` (DLRM's default for the quotient-remainder trick), or fewer where the small fields would take more than
    half of ``budget`` bytes; that half is this project's own choice. Fields of equally many rows are left uncompressed
    together or not at all.
    """
    threshold = kept = 0
    for rows, fields in sorted(Counter(field.cardinality for field in shape.schema.fields).items()):
        kept += rows * fields * shape.width * 4
        if rows > most or kept > budget / 2:
            break
        threshold = rows
    return threshold


def spend_on_small_fields(
    size: SizeT, nbytes: Callable[[SizeT, TableShape], int], budget: int, shape: TableShape
) -> SizeT:
    """``size`` with the largest threshold that ``budget`` bytes allow: its own or the rows of a field.

    It spends the bytes that are left once all else is decided: further fields stay uncompressed, smaller ones first.
    """
    for rows in sorted(field.cardinality for field in shape.schema.fields):
        if rows > size.threshold:
            larger = replace(size, threshold=rows)
            if nbytes(larger, shape) > budget:
                break
            size = larger
    return size
