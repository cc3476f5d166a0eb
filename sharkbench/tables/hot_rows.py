"""A cache of rows in fp32 before a table of codes: the rows read most often, or those written most recently."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import CHUNK, RowCodec
from sharkbench.formats.tier_index import TierIndex
from sharkbench.formats.tiered import Tiered, TierSettings
from sharkbench.tables.sharded import Gather, divisible

CacheBy = Literal["frequency", "recency"]
WAYS = 32
"""Slots that a row may be cached in, as in FBGEMM's cache."""
_EMPTY = -1


class ColdRows(Protocol):
    """A store whose rows are ``table``, as ``codec`` lays them out."""

    table: Tensor
    codec: RowCodec
    width: int

    def __len__(self) -> int: ...

    def read(self, rows: Tensor) -> Tensor: ...

    def write(self, rows: Tensor, values: Tensor) -> None: ...

    def packed(self, schema: Schema, fields: Sequence[int]) -> Format: ...


class HotRows(nn.Module):
    """``capacity`` rows in fp32, all others in ``cold``; a subclass decides which rows are hot.

    In training a hot row also has a stale copy among the cold rows. Served, each row is stored once, and a
    :class:`TierIndex` finds it.

    Shapes: ``keys`` ``[capacity]`` int32 (the row in each slot, -1 for none), ``values`` ``[capacity, width]`` float32.
    """

    def __init__(self, cold: ColdRows, capacity: int) -> None:
        super().__init__()
        self.cold, self.width = cold, cold.width
        self.register_buffer("keys", torch.full((capacity,), _EMPTY, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(capacity, cold.width))
        self.keys: Tensor
        self.values: Tensor

    def __len__(self) -> int:
        return len(self.cold)

    @abstractmethod
    def find(self, rows: Tensor) -> Tensor:
        """``[n]`` int64, the slot of each row, -1 where it is cold."""

    def admit(self, rows: Tensor) -> Tensor:
        """:meth:`find` for rows that are about to be written; some of them may become hot."""
        return self.find(rows)

    def read(self, rows: Tensor) -> Tensor:
        values, slots = self.cold.read(rows), self.find(rows)
        hot = (slots != _EMPTY).nonzero().flatten()
        return values.index_copy_(0, hot, self.values.index_select(0, slots[hot]))

    def write(self, rows: Tensor, values: Tensor) -> None:
        slots = self.admit(rows)
        is_hot = slots != _EMPTY
        self.values.index_copy_(0, slots[is_hot], values[is_hot])
        self.cold.write(rows[~is_hot], values[~is_hot])

    def packed(self, schema: Schema, fields: Sequence[int]) -> Format:
        """Two tiers, codes and fp32; each row is in one of them."""
        tiers = [
            TierSettings(codec=self.cold.codec, dimension=self.width),
            TierSettings(codec=RowCodec(), dimension=self.width),
        ]
        taken = (self.keys != _EMPTY).nonzero().flatten()
        hot, slots = self.keys[taken].long().sort()
        tier = torch.zeros(len(self), dtype=torch.uint8)
        tier[hot.cpu()] = 1
        # Only the packed rows are copied: the table may take most of the memory.
        cold = self.cold.table[(tier == 0).nonzero().flatten().to(self.keys.device)].cpu()
        rows = [cold, self.values[taken[slots]].cpu()]
        return Tiered(schema, fields, self.width, tiers, rows, TierIndex.of(tier, 2))


class FrequentRows(HotRows):
    """The hot rows are fixed: ``rows`` ``[capacity]``, ascending; those that training reads most often, say."""

    def __init__(self, cold: ColdRows, rows: Tensor) -> None:
        super().__init__(cold, len(rows))
        self.keys.copy_(rows)
        for part in torch.arange(len(rows)).split(CHUNK):
            self.values[part] = cold.read(self.keys[part].long())

    def find(self, rows: Tensor) -> Tensor:
        if not len(self.keys):  # of a divided table, all hot rows may be in other processes
            return torch.full_like(rows, _EMPTY)
        slots = torch.searchsorted(self.keys, rows.to(self.keys.dtype)).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[slots] == rows, slots, _EMPTY)

    def divide(self, rank: int, size: int) -> None:
        """Each hot row goes to the process of its cold copy."""
        divisible(self.cold).divide(rank, size)
        own = self.keys % size == rank
        self.keys, self.values = self.keys[own] // size, self.values[own]

    def unite(self, gather: Gather) -> None:
        parts = gather(self.keys)
        keys = torch.cat([part * len(parts) + rank for rank, part in enumerate(parts)])
        self.keys, order = keys.sort()
        self.values = torch.cat(gather(self.values))[order]
        divisible(self.cold).unite(gather)


class RecentRows(HotRows):
    """The hot rows are those written most recently. A written row replaces the least recently written of its ``WAYS``
    slots, whose row is written back to the cold rows; where all of them were written in this step, it stays cold.

    Shapes: ``used`` ``[capacity]`` int32, the step in which each slot was last written.
    """

    def __init__(self, cold: ColdRows, capacity: int) -> None:
        super().__init__(cold, rounded_capacity(capacity))
        self.ways = min(WAYS, len(self.keys))
        self.register_buffer("used", torch.zeros(len(self.keys), dtype=torch.int32))
        self.register_buffer("step", torch.zeros((), dtype=torch.int32))
        self.used: Tensor
        self.step: Tensor

    def _places(self, rows: Tensor) -> Tensor:
        """``[n]``: the set of slots that each row may be in."""
        return rows % (len(self.keys) // self.ways)

    def find(self, rows: Tensor) -> Tensor:
        places = self._places(rows)
        match = self.keys.view(-1, self.ways).index_select(0, places) == rows[:, None]
        way = match.int().argmax(1)
        return torch.where(match.any(1), places * self.ways + way, _EMPTY)

    def admit(self, rows: Tensor) -> Tensor:
        self.step += 1
        slots = self.find(rows)
        self.used[slots[slots != _EMPTY]] = self.step
        missing = (slots == _EMPTY).nonzero().flatten()
        places, order = self._places(rows[missing]).sort(stable=True)
        missing = missing[order]
        # The k-th new row of a set takes its k-th oldest slot.
        sets, counts = torch.unique_consecutive(places, return_counts=True)
        nth = torch.arange(len(places), device=rows.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        oldest = self.used.view(-1, self.ways)[sets].argsort(dim=1, stable=True)
        of_set = torch.arange(len(sets), device=rows.device).repeat_interleave(counts)
        slot = places * self.ways + oldest[of_set, nth.clamp(max=self.ways - 1)]
        fits = (nth < self.ways) & (self.used[slot] < self.step)
        slot, missing = slot[fits], missing[fits]
        leaving = slot[self.keys[slot] != _EMPTY]
        self.cold.write(self.keys[leaving].long(), self.values[leaving])
        self.keys[slot] = rows[missing].to(self.keys.dtype)
        self.used[slot] = self.step
        slots[missing] = slot
        return slots


def rounded_capacity(capacity: int) -> int:
    """Slots of a cache by recency with at most ``capacity`` slots: whole sets."""
    return capacity - capacity % WAYS if capacity > WAYS else capacity


def with_hot_rows(cold: ColdRows, count: int, by: CacheBy, frequencies: NDArray[np.int64] | None) -> ColdRows | HotRows:
    """``cold`` with a cache of ``count`` fp32 rows before it; ``cold`` itself where ``count`` is zero.

    Args:
        frequencies: ``[rows]``, how often training reads each row; ties are broken by id.
    """
    if count == 0:
        return cold
    if by == "recency":
        return RecentRows(cold, count)
    counts = frequencies if frequencies is not None else np.zeros(len(cold), dtype=np.int64)
    return FrequentRows(cold, torch.from_numpy(_hottest(counts, count)))


def _hottest(frequencies: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """``[count]`` most frequent rows, ascending, without sorting all rows, which takes more memory than the table."""
    least = np.partition(frequencies, len(frequencies) - count)[len(frequencies) - count]
    above = np.flatnonzero(frequencies > least)
    ties = np.flatnonzero(frequencies == least)[: count - len(above)]
    return np.sort(np.concatenate([above, ties]))
