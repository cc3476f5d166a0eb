"""The bits of codes that a budget allows, and the number of fp32 rows that the remaining bytes allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.formats.tier_index import TierIndex

Bits = TypeVar("Bits", bound=int)


class CodedSize(NamedTuple):
    """Bytes of a coded row, and bytes that do not depend on the rows."""

    row: int
    fixed: int = 0


def coded_bytes(shape: TableShape, size: CodedSize, hot: int) -> int:
    """Packed bytes with ``hot`` rows in fp32 and the others coded."""
    stored = (shape.rows - hot) * size.row + hot * 4 * shape.width
    return stored + (TierIndex.bytes_of(shape.rows, 2) if hot else 0) + size.fixed


def fit_bits(
    budget: int, shape: TableShape, sizes: Mapping[Bits, CodedSize], cache: float | None, *, what: str
) -> tuple[Bits, int]:
    """The most bits that fit ``budget`` bytes, and how many rows may be hot.

    Args:
        sizes: by bits.
        cache: share of hot rows; as many as the budget leaves room for unless given.
        what: names the method in the reason.

    Raises:
        Infeasible: not even the fewest bits fit.
    """
    if not sizes:
        raise Infeasible(f"{what}: rows of first-order weights alone, 2 bytes each, are not coded in fewer bits")
    hot = round((cache or 0) * shape.rows)
    for bits in sorted(sizes, reverse=True):
        rest = budget - coded_bytes(shape, sizes[bits], hot)
        if rest < 0:
            continue
        if cache is None:
            room, more = rest - TierIndex.bytes_of(shape.rows, 2), 4 * shape.width - sizes[bits].row
            # Coded rows of one value may be larger than fp32 rows.
            hot = min(room // more, shape.rows) if room > 0 and more > 0 else 0
        return bits, hot
    least = min(sizes, key=lambda bits: coded_bytes(shape, sizes[bits], hot))
    needed = coded_bytes(shape, sizes[least], hot)
    raise Infeasible(
        f"{what}: {shape.rows:,} rows with {least} bits a number take {needed:,} bytes ({sizes[least].row} a row"
        f"{f', {hot:,} in fp32' if hot else ''}), the budget is {budget:,}; rows must be dropped or shared for that"
    )
