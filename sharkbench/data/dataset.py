"""A prepared data set: what training, methods and measurement read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from sharkbench.data.schema import Schema

SplitName = Literal["train", "valid", "test"]


class Batch(NamedTuple):
    """``ids`` ``[B, S]`` int32 global ids (:data:`~sharkbench.data.schema.PADDING` in empty slots), ``dense`` ``[B, K]``
    float32, ``labels`` ``[B, T]`` float32."""

    ids: torch.Tensor
    dense: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Split:
    """One split as memory-mapped tensors; nothing is copied until it is sliced.

    ``group`` ``[n]`` int32 (the user, say, for grouped AUC) is ``None`` where no group column is named.
    """

    ids: torch.Tensor
    dense: torch.Tensor
    labels: torch.Tensor
    group: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class PreparedDataset:
    """An encoded data set on disk. ``fingerprint`` covers source bytes, settings and the encoder's version;
    ``summary`` has what a person wants to know (rows per split, label rates, split kind, bayes_auc if known)."""

    name: str
    path: Path
    fingerprint: str
    schema: Schema
    summary: dict[str, Any]
    splits: dict[SplitName, Split]
