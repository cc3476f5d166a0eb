"""Which tier a row is in, and where it lies: a compact index over rows that take unequal space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sharkbench.formats.restoring import require, take, take_exact

BLOCK = 64
"""Rows per block: one machine word per plane, so that counting the rows before one is a handful of popcounts."""
MAX_TIERS = 8


class TierIndex(nn.Module):
    """A tier per row, and the rows laid out in order, row ``i`` taking ``sizes[tier(i)]`` units.

        address(i) = bases[i // 64] + sum over tiers t of sizes[t] * (rows of tier t before i in its block)

    Bit ``p`` of the tiers of a block's 64 rows is one word, ``planes[block, p]``. With two tiers a row costs 1.5 bits,
    with four 2.5. Sizes ``(0, 1)`` make it a set with ranks: a row is chosen or not, and its address is its rank.

    Shapes: ``planes`` ``[blocks, P]`` int64, ``bases`` ``[blocks]`` int32 (int64 where the total needs it).
    """

    def __init__(self, sizes: Sequence[int], planes: Tensor, bases: Tensor) -> None:
        super().__init__()
        self.sizes = tuple(int(s) for s in sizes)
        self.register_buffer("planes", planes)
        self.register_buffer("bases", bases)
        self.planes: Tensor
        self.bases: Tensor

    @classmethod
    def of(cls, tiers: Tensor, sizes: Sequence[int]) -> TierIndex:
        """From the tier of each row, ``[R]`` integers below ``len(sizes)``."""
        planes = num_planes(len(sizes))
        padded = torch.zeros(-(-len(tiers) // BLOCK) * BLOCK, dtype=torch.int64)
        padded[: len(tiers)] = tiers.to(torch.int64)
        blocks = padded.view(-1, BLOCK)
        shifts = torch.arange(BLOCK)
        words = [((blocks >> p & 1) << shifts).sum(1) for p in range(planes)]  # bit 63 wraps to the sign, as meant
        lengths = torch.tensor(sizes, dtype=torch.int64)[padded]
        lengths[len(tiers) :] = 0
        return cls(sizes, torch.stack(words, 1), _bases(lengths))

    @property
    def base_dtype(self) -> torch.dtype:
        return self.bases.dtype

    def locate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tiers and addresses (int64) of ``rows`` (int64, any shape)."""
        block, bit = torch.div(rows, BLOCK, rounding_mode="floor"), rows % BLOCK
        words = self.planes[block]
        # Rows before this one in its block; at bit 0 there are none (a shift by 64 would not say so).
        before = torch.where(bit > 0, (torch.ones_like(bit) << bit) - 1, torch.zeros_like(bit))
        tier = ((words >> bit.unsqueeze(-1) & 1) << torch.arange(words.shape[-1], device=rows.device)).sum(-1)
        address = self.bases[block].to(torch.int64)
        for t, size in enumerate(self.sizes):
            if size:
                members = before
                for p in range(words.shape[-1]):
                    members = members & (words[..., p] if t >> p & 1 else ~words[..., p])
                address = address + size * popcount(members)
        return tier, address

    def tiers(self, rows: int) -> Tensor:
        """``[rows]`` uint8, the tier of every row."""
        shifts = torch.arange(BLOCK)
        total = torch.zeros(len(self.planes) * BLOCK, dtype=torch.uint8)
        for p in range(self.planes.shape[1]):
            total |= ((self.planes[:, p : p + 1] >> shifts & 1) << p).flatten().to(torch.uint8)
        return total[:rows]

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], rows: int, sizes: Sequence[int], kind: str) -> TierIndex:
        """Rebuild; every tier must exist, and every base must be what the rows before it take."""
        blocks = -(-rows // BLOCK)
        planes = take_exact(tensors, "planes", kind, torch.int64, (blocks, num_planes(len(sizes))))
        bases = take(tensors, "bases", kind)
        index = cls(sizes, planes, bases)
        tiers = index.tiers(blocks * BLOCK)
        require(bool((tiers < len(sizes)).all()), kind, "a row is of a tier that does not exist")
        require(not tiers[rows:].any(), kind, "rows beyond the last one are marked")
        lengths = torch.tensor(sizes, dtype=torch.int64)[tiers.to(torch.int64)]
        lengths[rows:] = 0
        expected = _bases(lengths)
        require(bases.dtype == expected.dtype and torch.equal(bases, expected), kind, "row addresses do not add up")
        return index

    def total(self, rows: int) -> int:
        """Units that all rows together take."""
        counts = torch.bincount(self.tiers(rows), minlength=len(self.sizes))
        return sum(n * size for n, size in zip(counts.tolist(), self.sizes, strict=True))


def num_planes(tiers: int) -> int:
    """Bits that tell ``tiers`` tiers apart (at least one)."""
    return max(1, (tiers - 1).bit_length())


def _bases(lengths: Tensor) -> Tensor:
    totals = lengths.view(-1, BLOCK).sum(1)
    bases = totals.cumsum(0) - totals
    largest = int(totals.sum())
    return bases.to(torch.int32 if largest < 1 << 31 else torch.int64)


def popcount(words: Tensor) -> Tensor:
    """Bits set in each int64."""
    # Bits are summed in pairs, nibbles, bytes; the first shift must not drag the sign along.
    x = words - ((words >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    total = x & 0xFF
    for shift in range(8, 64, 8):
        total = total + (x >> shift & 0xFF)
    return total
