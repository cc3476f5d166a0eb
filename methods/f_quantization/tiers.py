"""Assignment of rows to tiers of precision by priority: from thresholds, or within a number of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharkbench.errors import Infeasible
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.tier_index import TierIndex

TierName = Literal["dropped", "int2", "int4", "int8", "bf16", "fp16", "fp32"]

ERRORS: dict[TierName, float] = {
    "dropped": 1.0,
    "int2": 0.11,
    "int4": 4.2e-3,
    "int8": 1.5e-5,
    "bf16": 2.8e-6,
    "fp16": 4.3e-8,
    "fp32": 0.0,
}
"""Mean squared error of a coded row relative to its mean square, for normal rows of 16 values (ours)."""


def codec_of(tier: TierName, tail: int) -> RowCodec | None:
    """Codec of a row of the tier, with ``tail`` first-order weights beside integer codes; ``None`` for dropped rows."""
    if tier == "dropped":
        return None
    return RowCodec(dtype=tier) if tier in ("fp32", "fp16", "bf16") else RowCodec(dtype=tier, tail=tail)


def row_bytes(tiers: Sequence[TierName], width: int, tail: int) -> list[int]:
    """Bytes that a row of each tier takes."""
    codecs = [codec_of(tier, tail) for tier in tiers]
    return [codec.row_bytes(width) if codec else 0 for codec in codecs]


def smallest_bytes(tiers: Sequence[TierName], rows: int, width: int, tail: int = 0) -> int:
    """Packed bytes of ``rows`` rows that are all in the smallest tier."""
    return rows * min(row_bytes(tiers, width, tail)) + TierIndex.bytes_of(rows, len(tiers))


def within_budget(priorities: Tensor, tiers: Sequence[TierName], width: int, tail: int, budget: int) -> Tensor:
    """:func:`within_bytes`, given ``budget`` bytes for the whole packed layer, its index included."""
    sizes = row_bytes(tiers, width, tail)
    room = budget - TierIndex.bytes_of(len(priorities), len(tiers))
    return within_bytes(priorities, sizes, [ERRORS[tier] for tier in tiers], room)


def by_threshold(priorities: Tensor, thresholds: Sequence[float]) -> Tensor:
    """``[R]`` uint8: tier ``t`` where ``thresholds[t - 1] <= p < thresholds[t]``; thresholds ascend."""
    edges = torch.tensor(thresholds, dtype=priorities.dtype, device=priorities.device)
    return torch.bucketize(priorities, edges, right=True).to(torch.uint8)


def within_bytes(priorities: Tensor, sizes: Sequence[int], errors: Sequence[float], room: int) -> Tensor:
    """Tiers that make ``sum_i p_i * error(tier_i)`` small within ``room`` bytes; higher priorities never get less.

    Greedy: every row begins in the smallest tier; then the moves to a larger tier that lower the weighted error most
    per byte are made, as long as they fit. So the ratios of the thresholds between neighbouring tiers are fixed, and
    the budget decides only their scale (ours). Rows of equal priority are taken in the order of their ids.

    Args:
        priorities: ``[R]``, not negative.
        sizes, errors: bytes and error of a row in each tier.
        room: bytes for all rows together.

    Returns:
        ``[R]`` uint8 tiers, indices into ``sizes``; a tier with more bytes than another and no smaller error is unused.

    Raises:
        Infeasible: the smallest tier for all rows is too large.
    """
    path = _worthwhile(sizes, errors)
    total = len(priorities) * sizes[path[0]]
    if total > room:
        raise Infeasible(
            f"{len(priorities):,} rows take at least {total:,} bytes, {room:,} are left for them; "
            "list a smaller tier, or 'dropped'"
        )
    ordered, ranked = priorities.cpu().sort(descending=True, stable=True)
    counts = _bargains(ordered.double().numpy(), path, sizes, errors, room - total)
    level = torch.zeros(len(priorities), dtype=torch.int64)
    for count in counts:
        level[ranked[:count]] += 1
    return torch.tensor(path)[level].to(torch.uint8).to(priorities.device)


def _bargains(
    ordered: NDArray[np.float64], path: Sequence[int], sizes: Sequence[int], errors: Sequence[float], room: int
) -> list[int]:
    """How many rows, highest priority first, take each step of ``path``; ``ordered`` priorities descend."""
    steps = list(pairwise(path))
    costs = [sizes[b] - sizes[a] for a, b in steps]
    gains = [(errors[a] - errors[b]) / cost for (a, b), cost in zip(steps, costs, strict=True)]
    ascending = ordered[::-1]

    def worth_at_least(least: float) -> list[int]:
        return [len(ordered) - int(np.searchsorted(ascending, least / gain, side="left")) for gain in gains]

    def cost_of(counts: Sequence[int]) -> int:
        return sum(count * cost for count, cost in zip(counts, costs, strict=True))

    too_cheap, dear = 0.0, 2 * float(ordered[0]) * max(gains, default=0.0) + 1e-300
    if cost_of(worth_at_least(too_cheap)) <= room:
        return worth_at_least(too_cheap)
    counts = [0] * len(steps)
    for _ in range(200):
        middle = (too_cheap + dear) / 2
        if middle in (too_cheap, dear):
            break
        tried = worth_at_least(middle)
        if cost_of(tried) <= room:
            dear, counts = middle, tried
        else:
            too_cheap = middle
    # The remaining bytes go to the rows that tie at the border, then to any row that still fits; no row skips a step.
    rest = room - cost_of(counts)
    for limits in (worth_at_least(too_cheap), [len(ordered)] * len(steps)):
        for k, cost in enumerate(costs):
            limit = min(limits[k], counts[k - 1] if k else len(ordered))
            more = max(min(rest // cost, limit - counts[k]), 0)
            counts[k] += more
            rest -= more * cost
    return counts


def _worthwhile(sizes: Sequence[int], errors: Sequence[float]) -> list[int]:
    """Tiers on the lower convex hull of (bytes, error), smallest first: the others never lower the error most."""
    hull: list[int] = []
    for t in sorted(range(len(sizes)), key=lambda t: (sizes[t], errors[t])):
        if hull and errors[t] >= errors[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1], sizes, errors) <= _slope(hull[-1], t, sizes, errors):
            hull.pop()
        if hull and sizes[hull[-1]] == sizes[t]:
            hull.pop()
        hull.append(t)
    return hull


def _slope(a: int, b: int, sizes: Sequence[int], errors: Sequence[float]) -> float:
    """Error saved per byte from tier ``a`` to the larger tier ``b``."""
    return (errors[a] - errors[b]) / (sizes[b] - sizes[a])
