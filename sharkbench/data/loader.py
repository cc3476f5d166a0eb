"""Batches from a memory-mapped split: whole batches by one gather, no per-sample Python."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset

from sharkbench.data.dataset import Batch, Split

BLOCK = 262_144
"""Rows that are shuffled together: a split of at most so many rows is permuted truly at random."""
PAGE = 4096
"""A larger split is cut into runs of this many neighbouring rows; a block is made of runs drawn at random from the
whole split and its rows are then permuted. So two neighbours meet in one batch more often than chance would have
it, while the memory that is touched at a time stays that of one block."""


def batches(
    split: Split, batch_size: int, *, seed: int | None = None, epoch: int = 0, drop_last: bool = False
) -> Iterator[Batch]:
    """Batches of ``batch_size`` rows, the last one smaller unless ``drop_last``; in file order without a ``seed``.

    The order depends on ``(seed, epoch)`` alone. Unshuffled batches are views of the file, shuffled ones copies.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    rows = len(split)
    end = rows - rows % batch_size if drop_last else rows
    if seed is None:
        for start in range(0, end, batch_size):
            chosen = slice(start, min(start + batch_size, end))
            yield Batch(split.ids[chosen], split.dense[chosen], split.labels[chosen])
        return
    left = end
    rest = torch.empty(0, dtype=torch.int64)
    for block in shuffled_blocks(rows, seed, epoch):
        order = torch.cat([rest, block]) if len(rest) else block
        full = len(order) - len(order) % batch_size
        for start in range(0, full, batch_size):
            yield _gather(split, order[start : start + batch_size])
        left -= full
        rest = order[full:]
    if left > 0:
        yield _gather(split, rest)


def shuffled_blocks(rows: int, seed: int, epoch: int) -> Iterator[torch.Tensor]:
    """Every row number once, int64, in blocks of :data:`BLOCK`."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    if rows <= BLOCK:
        yield torch.randperm(rows, generator=generator)
        return
    starts = torch.randperm(-(-rows // PAGE), generator=generator) * PAGE
    within = torch.arange(PAGE)
    for group in starts.split(BLOCK // PAGE):
        order = (group[:, None] + within).flatten()
        order = order[order < rows]
        yield order[torch.randperm(len(order), generator=generator)]


def _gather(split: Split, order: torch.Tensor) -> Batch:
    return Batch(*(torch.index_select(column, 0, order) for column in (split.ids, split.dense, split.labels)))


class BatchStream(IterableDataset[Batch]):
    """The batches of a split for a ``DataLoader`` with ``batch_size=None``. Each pass is the next epoch, unless
    :meth:`set_epoch` says which one comes."""

    def __init__(self, split: Split, batch_size: int, seed: int | None = None, drop_last: bool = False) -> None:
        self.split, self.batch_size, self.seed, self.drop_last = split, batch_size, seed, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next pass is epoch ``epoch``, as after a restart."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return batches(self.split, self.batch_size, seed=self.seed, epoch=epoch, drop_last=self.drop_last)

    def __len__(self) -> int:
        rows = len(self.split)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)


def loader(split: Split, batch_size: int, seed: int | None = None, drop_last: bool = False) -> DataLoader[Batch]:
    """A ``DataLoader`` that hands on whole batches; ``loader(...).dataset.set_epoch(e)`` chooses the epoch."""
    return DataLoader(BatchStream(split, batch_size, seed, drop_last), batch_size=None)
