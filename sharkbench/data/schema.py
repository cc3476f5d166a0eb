"""The ordered fields of a data set, and their shared id space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

PADDING = -1
"""The id of an empty slot of a multi-valued field. It has no row; pooling ignores it."""


@dataclass(frozen=True)
class Field:
    """One categorical (or bucketised numeric) column and its vocabulary.

    ``cardinality`` counts the field's rows, the row of unseen and missing values (local id 0) included.
    ``slots`` is 1 for a plain field; a multi-valued field has up to ``slots`` values per sample, pooled by ``pooling``.
    """

    name: str
    cardinality: int
    slots: int = 1
    pooling: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class Schema:
    """Fields in order. Field ``f`` owns the rows ``offsets[f] : offsets[f + 1]`` of the shared id space.

    A sample is ``S = num_slots`` global ids (``S == F`` when no field is multi-valued), ``dense`` numeric inputs
    and one value per label. ``frequencies`` (``[num_rows]`` int64, how often each row occurs in the training split)
    is ``None`` if only the shape is known, as in a loaded artifact.
    """

    fields: tuple[Field, ...]
    labels: tuple[str, ...]
    dense: tuple[str, ...] = ()
    frequencies: np.ndarray | None = field(default=None, compare=False, repr=False)

    @cached_property
    def offsets(self) -> np.ndarray:
        """``[F + 1]`` int64; the last entry is the number of rows."""
        return np.concatenate([[0], np.cumsum([f.cardinality for f in self.fields])]).astype(np.int64)

    @property
    def num_rows(self) -> int:
        return int(self.offsets[-1])

    @property
    def num_fields(self) -> int:
        return len(self.fields)

    @cached_property
    def slot_fields(self) -> np.ndarray:
        """``[S]`` int64: the field that each slot belongs to."""
        return np.repeat(np.arange(len(self.fields), dtype=np.int64), [f.slots for f in self.fields])

    @property
    def num_slots(self) -> int:
        return len(self.slot_fields)

    @property
    def multivalued(self) -> bool:
        return any(f.slots > 1 for f in self.fields)

    def slot_columns(self, fields: Sequence[int]) -> np.ndarray:
        """Columns of the ``[B, S]`` id matrix that belong to ``fields``, in the order of ``fields``."""
        return np.concatenate([np.flatnonzero(self.slot_fields == f) for f in fields]).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """The schema without frequencies, as plain JSON values."""
        return {
            "fields": [
                {"name": f.name, "cardinality": f.cardinality, "slots": f.slots, "pooling": f.pooling}
                for f in self.fields
            ],
            "labels": list(self.labels),
            "dense": list(self.dense),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], frequencies: np.ndarray | None = None) -> Schema:
        return cls(
            fields=tuple(Field(**f) for f in data["fields"]),
            labels=tuple(data["labels"]),
            dense=tuple(data["dense"]),
            frequencies=frequencies,
        )


def with_fields(schema: Schema, fields: Sequence[int]) -> Schema:
    """``schema`` restricted to some of its fields, with their frequencies."""
    counts = schema.frequencies
    if counts is not None:
        counts = np.concatenate([counts[schema.offsets[f] : schema.offsets[f + 1]] for f in fields])
    return replace(schema, fields=tuple(schema.fields[f] for f in fields), frequencies=counts)
