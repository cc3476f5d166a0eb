"""Samples: a split as memory-mapped tensors, and batches for models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

SplitName = Literal["train", "valid", "test"]


class Batch(NamedTuple):
    """``ids`` ``[B, S]`` int32 global ids (:data:`~sharkbench.data.schema.PADDING` in empty slots), ``dense``
    ``[B, K]`` float32, ``labels`` ``[B, T]`` float32, ``weight`` ``[B]`` float32 if samples have weights."""

    ids: torch.Tensor
    dense: torch.Tensor
    labels: torch.Tensor
    weight: torch.Tensor | None = None

    @property
    def mass(self) -> float:
        """Total weight of the samples: their number, or the sum of their weights."""
        return len(self.labels) if self.weight is None else float(self.weight.sum(dtype=torch.float64))

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The batch with ``change`` applied to every tensor."""
        return Batch(*(None if tensor is None else change(tensor) for tensor in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Split:
    """One split as memory-mapped tensors; nothing is copied until it is sliced.

    ``group`` ``[n]`` int32 (the user, for example, for metrics within groups) is ``None`` without a group column,
    ``weight`` ``[n]`` float32 (non-negative, with mean 1) without a column of weights. ``mapped`` says that all tensors
    lie on a mapped file, from which they can be read again.
    """

    ids: torch.Tensor
    dense: torch.Tensor
    labels: torch.Tensor
    group: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def mass(self) -> float:
        """Total weight of the samples: their number, or the sum of their weights."""
        return self.samples(slice(None)).mass

    def samples(self, rows: slice | torch.Tensor) -> Batch:
        """The batch of these rows: views for a slice, copies for row numbers (int64)."""

        def chosen(column: torch.Tensor) -> torch.Tensor:
            return column[rows] if isinstance(rows, slice) else torch.index_select(column, 0, rows)

        return Batch(self.ids, self.dense, self.labels, self.weight).each(chosen)
