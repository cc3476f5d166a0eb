"""A compact index of the tier of each row and its rank among the rows of that tier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sharkbench.formats.restoring import require, take_exact
from sharkbench.formats.stored import Stored

BLOCK = 64
"""Rows per block: one machine word per plane, so that one popcount counts the rows before a row in its block."""
SPAN = 1 << 16
"""Rows per span: ranks of blocks count from the start of their span, so that they fit into 16 bits."""
MAX_TIERS = 8


class TierIndex(Stored):
    """A tier per row, and its rank: the number of rows of its tier before it.

        rank(i) = firsts[i // 65536, t] + ranks[i // 64, t] + (rows of tier t before i in its block),  t = tier(i)

    Bit ``p`` of the tiers of a block's 64 rows is one word, ``planes[block, p]``. With two tiers a row costs 1.5 bits,
    with three 2.75, with four 3. With two tiers it represents a set with ranks: rows of tier 1 are its members.

    Shapes: ``planes`` ``[blocks, P]`` int64; ``ranks`` ``[blocks, tiers]`` int16, read as unsigned; ``firsts``
    ``[spans, tiers]`` int64.
    """

    def __init__(self, planes: Tensor, ranks: Tensor, firsts: Tensor) -> None:
        super().__init__()
        self.register_buffer("planes", planes)
        self.register_buffer("ranks", ranks)
        self.register_buffer("firsts", firsts)
        self.planes: Tensor
        self.ranks: Tensor
        self.firsts: Tensor

    @classmethod
    def of(cls, tiers: Tensor, count: int) -> TierIndex:
        """From the tier of each row, ``[R]`` integers below ``count`` (2 to 8)."""
        padded = torch.zeros(-(-len(tiers) // BLOCK) * BLOCK, dtype=torch.uint8)
        padded[: len(tiers)] = tiers.to(torch.uint8)
        blocks, shifts = padded.view(-1, BLOCK), torch.arange(BLOCK)
        # Bit 63 wraps to the sign, as intended.
        words = [((blocks >> p & 1).long() << shifts).sum(1) for p in range(num_planes(count))]
        members = torch.stack([(blocks == t).sum(1) for t in range(count)], 1)
        before = members.cumsum(0) - members
        firsts = before[:: SPAN // BLOCK].clone()
        ranks = before - firsts.repeat_interleave(SPAN // BLOCK, 0)[: len(before)]
        return cls(torch.stack(words, 1), torch.where(ranks < 1 << 15, ranks, ranks - SPAN).to(torch.int16), firsts)

    @classmethod
    def bytes_of(cls, rows: int, tiers: int) -> int:
        """Bytes of the index of so many rows, for any assignment of tiers; a single tier needs none."""
        if tiers == 1:
            return 0
        return -(-rows // BLOCK) * (8 * num_planes(tiers) + 2 * tiers) + -(-rows // SPAN) * 8 * tiers

    @property
    def count(self) -> int:
        """Number of tiers."""
        return self.ranks.shape[1]

    @property
    def arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        """Planes, ranks and firsts, in the order in which kernels take them."""
        return self.planes, self.ranks, self.firsts

    def locate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tiers and ranks (both int64) of ``rows`` (int64, any shape)."""
        block, bit = torch.div(rows, BLOCK, rounding_mode="floor"), rows % BLOCK
        words = self.planes[block]
        own = words >> bit.unsqueeze(-1) & 1
        tier, members = torch.zeros_like(rows), (1 << bit) - 1
        for p in range(words.shape[-1]):
            tier |= own[..., p] << p
            members = members & ~(words[..., p] ^ -own[..., p])
        before = self.firsts[torch.div(rows, SPAN, rounding_mode="floor"), tier]
        return tier, before + (self.ranks[block, tier].to(torch.int64) & (SPAN - 1)) + popcount(members)

    def tiers(self, rows: int) -> Tensor:
        """``[rows]`` uint8, the tier of every row."""
        shifts = torch.arange(BLOCK)
        total = torch.zeros(len(self.planes) * BLOCK, dtype=torch.uint8)
        for p in range(self.planes.shape[1]):
            total |= ((self.planes[:, p : p + 1] >> shifts & 1) << p).flatten().to(torch.uint8)
        return total[:rows]

    def counts(self, rows: int) -> list[int]:
        """Number of rows in each tier, of ``rows`` rows."""
        return torch.bincount(self.tiers(rows), minlength=self.count).tolist()

    @classmethod
    def restore(
        cls, tensors: Mapping[str, Tensor], name: str, rows: int, count: int, kind: str
    ) -> tuple[TierIndex, set[str]]:
        """The index that a format calls ``name``, and the names of its tensors.

        Every tier must exist, and every rank must be what the rows before it make it.
        """
        blocks, spans = -(-rows // BLOCK), -(-rows // SPAN)
        planes = take_exact(tensors, f"{name}.planes", kind, torch.int64, (blocks, num_planes(count)))
        ranks = take_exact(tensors, f"{name}.ranks", kind, torch.int16, (blocks, count))
        firsts = take_exact(tensors, f"{name}.firsts", kind, torch.int64, (spans, count))
        tiers = cls(planes, ranks, firsts).tiers(blocks * BLOCK)
        require(bool((tiers < count).all()), kind, "a row is of a tier that does not exist")
        require(not tiers[rows:].any(), kind, "rows beyond the last one are marked")
        index = cls.of(tiers[:rows], count)
        same = torch.equal(ranks, index.ranks) and torch.equal(firsts, index.firsts)
        require(same, kind, "ranks do not add up")
        return index, {f"{name}.{part}" for part in ("planes", "ranks", "firsts")}


def num_planes(tiers: int) -> int:
    """Bits needed for ``tiers`` tiers (at least one)."""
    return max(1, (tiers - 1).bit_length())


def popcount(words: Tensor) -> Tensor:
    """Bits set in each int64."""
    # Bits are summed in pairs, nibbles, bytes; the first shift must not propagate the sign.
    x = words - ((words >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    total = x & 0xFF
    for shift in range(8, 64, 8):
        total = total + (x >> shift & 0xFF)
    return total
