"""The base of formats whose rows are in tiers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Format
from sharkbench.formats.tier_index import TierIndex


class InTiers(Format):
    """The rows of a tier lie together, in the order of their ids; an index finds them.

    Args:
        sizes: bytes of a row of each tier.
        index: over the rows of ``fields``, one field after the other; ``None`` with a single tier.
    """

    def __init__(
        self, schema: Schema, fields: Sequence[int], width: int, sizes: Sequence[int], index: TierIndex | None
    ) -> None:
        super().__init__(schema, fields, width)
        self.sizes = tuple(sizes)
        self.index: TierIndex | None = index

    @property
    def index_words(self) -> list[int | Tensor]:
        """Words of the compiled kernels about tiers: their number, and the index."""
        return [len(self.sizes), *(self.index.arrays if self.index else (0, 0, 0))]

    def locate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tier of each of ``rows`` (int64, any shape), and its position among the rows of its tier."""
        return self.index.locate(rows) if self.index else (torch.zeros_like(rows), rows)

    def row_tiers(self) -> Tensor:
        """``[R]`` uint8, the tier of each row of ``fields``."""
        total = int(self.cardinalities.sum())
        return self.index.tiers(total) if self.index else torch.zeros(total, dtype=torch.uint8)

    def tier_counts(self) -> list[list[int]]:
        """``[fields][tiers]``: number of rows."""
        parts = self.row_tiers().split(self.cardinalities.tolist())
        return [torch.bincount(part, minlength=len(self.sizes)).tolist() for part in parts]

    def with_shared(self, others: Sequence[int]) -> dict[str, int]:
        """``nbytes_by_field`` where each field has its rows, and further bytes ``others`` of its own.

        The rest is shared, since a block of the index may span two fields.
        """
        names = [self.schema.fields[f].name for f in self.fields]
        rows = [sum(n * size for n, size in zip(counts, self.sizes, strict=True)) for counts in self.tier_counts()]
        total = {name: own + other for name, own, other in zip(names, rows, others, strict=True)}
        rest = self.nbytes - sum(total.values())
        return {**total, SHARED: rest} if rest else total

    def repeated(self, rows: Sequence[Tensor | None], times: int) -> tuple[list[Tensor | None], TierIndex | None]:
        """The rows of each tier, and the index, with the rows of every field repeated ``times``.

        Args:
            rows: of each tier, ``[R_t, ...]``; ``None`` where it stores none.
        """
        parts = self.row_tiers().split(self.cardinalities.tolist())
        index = TierIndex.of(torch.cat([p.repeat(times) for p in parts]), len(self.sizes)) if self.index else None
        found: list[Tensor | None] = []
        for stored, counts in zip(rows, zip(*self.tier_counts(), strict=True), strict=True):
            pieces = [] if stored is None else [piece.repeat(times, 1) for piece in stored.split(list(counts))]
            found.append(torch.cat(pieces) if pieces else None)
        return found, index
