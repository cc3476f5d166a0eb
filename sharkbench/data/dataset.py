"""A prepared data set: what training, methods and measurement read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from sharkbench.data.schema import Schema
from sharkbench.errors import InputError, did_you_mean

SplitName = Literal["train", "valid", "test"]


class Batch(NamedTuple):
    """``ids`` ``[B, S]`` int32 global ids (:data:`~sharkbench.data.schema.PADDING` in empty slots), ``dense``
    ``[B, K]`` float32, ``labels`` ``[B, T]`` float32, ``weight`` ``[B]`` float32 where samples have weights."""

    ids: torch.Tensor
    dense: torch.Tensor
    labels: torch.Tensor
    weight: torch.Tensor | None = None

    @property
    def mass(self) -> float:
        """What the samples count together: their number, or the sum of their weights."""
        return len(self.labels) if self.weight is None else float(self.weight.sum(dtype=torch.float64))

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The batch with every tensor changed."""
        return Batch(*(None if tensor is None else change(tensor) for tensor in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Split:
    """One split as memory-mapped tensors; nothing is copied until it is sliced.

    ``group`` ``[n]`` int32 (the user, say, for metrics within groups) is ``None`` where no group column is named,
    ``weight`` ``[n]`` float32 (0 or more, its mean 1) where none of weights is. ``mapped`` says that all of them lie on
    a file, from which they can be read again.
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
        """What the samples count together: their number, or the sum of their weights."""
        return self.samples(slice(None)).mass

    def samples(self, rows: slice | torch.Tensor) -> Batch:
        """What these rows give to a model and its loss: views for a slice, copies for row numbers (int64)."""

        def chosen(column: torch.Tensor) -> torch.Tensor:
            return column[rows] if isinstance(rows, slice) else torch.index_select(column, 0, rows)

        return Batch(self.ids, self.dense, self.labels, self.weight).each(chosen)


@dataclass(frozen=True)
class PreparedDataset:
    """An encoded data set on disk. ``fingerprint`` covers source bytes and settings;
    ``summary`` has what a person wants to know (rows per split, label rates, split kind, bayes_ranking if known)."""

    name: str
    path: Path
    fingerprint: str
    schema: Schema
    summary: dict[str, Any]
    splits: dict[SplitName, Split]

    def vocabulary(self, field: str) -> list[str | None]:
        """Raw values of a field by local id; entry 0 is ``None``, the id of unseen and missing values. A numeric
        field's values are the names of its buckets (see :attr:`columns` for their edges).

        Raises:
            InputError: there is no such field.
        """
        from sharkbench.data.arrow import open_vocabulary

        names = [f.name for f in self.schema.fields]
        if field not in names:
            raise InputError(f"{self.name}: unknown field '{field}'{did_you_mean(field, names)}")
        first, end = self.schema.offsets[names.index(field) :][:2]
        values: list[str | None] = (
            open_vocabulary(self.path / "vocabulary.arrow").column("value")[first:end].to_pylist()
        )
        return values

    @property
    def columns(self) -> dict[str, dict[str, Any]]:
        """How each input column was encoded: ``how``, and ``edges``, ``mean`` and ``scale``, or ``separator``."""
        columns: dict[str, dict[str, Any]] = json.loads((self.path / "dataset.json").read_text())["columns"]
        return columns
