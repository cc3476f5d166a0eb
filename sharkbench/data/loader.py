"""Batches from a memory-mapped split: one gather per batch, no Python per sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from sharkbench.data.mapped import leave
from sharkbench.data.samples import Batch, Split

BLOCK = 262_144
"""Rows that are shuffled together: a split of at most this many rows is divided into batches uniformly at random."""
PAGE = 4096
"""A larger split is cut into runs of this many neighbouring rows. A block consists of runs drawn at random from the
whole split, and its rows are divided into batches at random. So two neighbours share a batch more often than under
uniform sampling, while only one block of memory is touched at a time."""


def batches(
    split: Split, batch_size: int, *, seed: int | None = None, epoch: int = 0, drop_last: bool = False
) -> Iterator[Batch]:
    """Batches of ``batch_size`` rows, the last one smaller unless ``drop_last``; in file order without a ``seed``.

    The rows of each batch depend on ``(seed, epoch, batch_size)`` alone. Unshuffled batches are views of the file,
    shuffled batches are copies. About :data:`BLOCK` rows of the file stay in memory at a time.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    read = 0
    for batch in _batches(split, batch_size, seed, epoch, drop_last):
        yield batch
        read += batch_size
        if split.mapped and read >= BLOCK:
            leave(*(t for t in (split.ids, split.dense, split.labels, split.weight) if t is not None))
            read = 0


def _batches(split: Split, batch_size: int, seed: int | None, epoch: int, drop_last: bool) -> Iterator[Batch]:
    rows = len(split)
    if seed is None:
        end = rows - rows % batch_size if drop_last else rows
        for start in range(0, end, batch_size):
            chosen = slice(start, min(start + batch_size, end))
            yield split.samples(chosen)
        return
    for order in shuffled(rows, batch_size, seed, epoch):
        if len(order) == batch_size or not drop_last:
            yield split.samples(order)


def shuffled(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[torch.Tensor]:
    """Row numbers (int64) of each batch; every row occurs once, only the last batch may be smaller.

    They ascend within a batch: the order inside a batch does not affect training, and memory is read forwards.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    rest = torch.empty(0, dtype=torch.int64)
    for block in _blocks(rows, generator):
        pool = torch.cat([rest, block]) if len(rest) else block
        batch_of_row = torch.randperm(len(pool), generator=generator, dtype=torch.int32) // batch_size
        grouped = torch.from_numpy(_stable_order(batch_of_row.numpy()))
        full = len(pool) - len(pool) % batch_size
        pool = torch.index_select(pool, 0, grouped)
        for start in range(0, full, batch_size):
            yield pool[start : start + batch_size]
        rest = pool[full:]
    if len(rest):
        yield rest


def _blocks(rows: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Every row number once, in blocks of about :data:`BLOCK` rows, ascending within a block."""
    if rows <= BLOCK:
        yield torch.arange(rows)
        return
    starts = torch.randperm(-(-rows // PAGE), generator=generator) * PAGE
    within = torch.arange(PAGE)
    for group in starts.split(BLOCK // PAGE):
        numbers = (group.sort().values[:, None] + within).flatten()
        # only the last run of the split can be short, and it is the last of its block
        yield numbers[: numbers.numel() - int(numbers[-1] >= rows) * (PAGE - rows % PAGE)]


def _stable_order(keys: np.ndarray) -> np.ndarray:
    """Stable argsort; numpy sorts 16-bit keys by radix, in linear time."""
    return np.argsort(keys.astype(np.uint16) if len(keys) and keys.max() < 65_536 else keys, kind="stable")


class BatchStream(IterableDataset[Batch]):
    """The batches of a split for a ``DataLoader`` with ``batch_size=None``. Each pass is the next epoch, unless
    :meth:`set_epoch` sets it."""

    def __init__(self, split: Split, batch_size: int, seed: int | None = None, drop_last: bool = False) -> None:
        self.split, self.batch_size, self.seed, self.drop_last = split, batch_size, seed, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, for example after a restart."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return batches(self.split, self.batch_size, seed=self.seed, epoch=epoch, drop_last=self.drop_last)

    def __len__(self) -> int:
        rows = len(self.split)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)


def loader(split: Split, batch_size: int, seed: int | None = None, drop_last: bool = False) -> DataLoader[Batch]:
    """A ``DataLoader`` that yields whole batches; ``loader(...).dataset.set_epoch(e)`` sets the epoch."""
    return DataLoader(BatchStream(split, batch_size, seed, drop_last), batch_size=None)
