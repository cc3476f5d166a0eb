"""Arguments of the kernel of composed rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sharkbench.formats.codec import RowCodec
from sharkbench.formats.gpu.launch import Launch, alignment
from sharkbench.formats.tier_index import TierIndex

MULT, CONCAT, FIRST = 1, 2, 3
"""Operations on a part; 0 is add."""


def constants(
    parts: Sequence[tuple[Tensor, int]], operations: Sequence[int], hashed: Sequence[int], codec: RowCodec, headed: bool
) -> dict[str, Any] | None:
    """The compiled constants; ``None`` where the codes of a part would begin within a byte that the kernel unpacks.

    Args:
        parts: table and width of each, those of the head (of any table where there is none) being last.
        operations: of each part after the first.
        hashed: of each part: 0 no index function is a hash, 1 every one, 2 some.
    """
    widths = [width for _, width in parts[:-1]]
    begins, reached = [0], widths[0]
    for operation, width in zip(operations, widths[1:], strict=True):
        begins.append(reached if operation == CONCAT else 0)
        reached += width if operation == CONCAT else 0
    every = [FIRST, *operations]
    if not codec.is_float and codec.bits < 8:
        spread = any(w == 1 and operation <= MULT for w, operation in zip(widths, every, strict=True))
        if spread or any(begin * codec.bits % 8 for begin in begins):
            return None
    sizes = [codec.row_bytes(width) for _, width in parts]
    return {
        "operations": tuple(every),
        "widths": tuple(widths),
        "begins": tuple(begins),
        "hashed": tuple(hashed),
        "codecs": tuple(word for _, width in parts for word in codec.words(width)),
        "sizes": tuple(sizes),
        "aligns": tuple(alignment(rows, [size]) for (rows, _), size in zip(parts, sizes, strict=True)),
        "headed": headed,
    }


def launch(
    ids: Tensor,
    places: Tensor,
    out: Tensor,
    tables: Sequence[Tensor],
    head: tuple[Tensor, TierIndex] | None,
    fields: dict[str, Tensor],
    said: dict[str, Any],
) -> Launch:
    """Args:
    fields: ``functions`` ``[parts, C, 4]``, ``starts`` and ``first_rows`` ``[C]``, all int64.
    said: the :func:`constants`.
    """
    # Without a head the kernel reads none of the four.
    rows, planes, ranks, firsts = (head[0], *head[1].arrays) if head else (tables[0], places, places, places)
    own: dict[str, Tensor | tuple[Tensor, ...]] = {"tables": tuple(tables), **fields}
    own |= {"head": rows, "planes": planes, "ranks": ranks, "firsts": firsts}
    return Launch.of("composed_rows", ids, places, out, own, said)
