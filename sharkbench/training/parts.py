"""Divides batches among the processes that train one model."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from sharkbench.data.loader import BatchStream
from sharkbench.data.samples import Batch, Split
from sharkbench.training.group import Group


class TrainPart(BatchStream):
    """One process's part of each batch. The batches are those of training with one process; every row is in one part.

    The sizes of the parts of a batch differ by at most one row.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, drop_last: bool, group: Group) -> None:
        super().__init__(split, batch_size, seed, drop_last)
        self.rank, self.size = group.rank, group.size

    def __iter__(self) -> Iterator[Batch]:
        whole = super().__iter__()  # here and not at the first part, because a started pass counts as an epoch
        return (batch.each(lambda column: column.tensor_split(self.size)[self.rank]) for batch in whole)


class ValidationPart(BatchStream):
    """One process's share of the rows, in order; the concatenated shares are the split.

    All processes have the same number of batches, of at most ``batch_size`` rows, because lookups are collective.
    """

    def __init__(self, split: Split, batch_size: int, group: Group) -> None:
        super().__init__(split, batch_size)
        rows = len(split)
        start, end = (rows * rank // group.size for rank in (group.rank, group.rank + 1))
        self.count = ceil(ceil(rows / group.size) / batch_size)
        self.ends = [start + (end - start) * i // self.count for i in range(self.count + 1)]

    def __iter__(self) -> Iterator[Batch]:
        for start, end in zip(self.ends, self.ends[1:], strict=False):
            yield self.split.samples(slice(start, end))

    def __len__(self) -> int:
        return self.count
