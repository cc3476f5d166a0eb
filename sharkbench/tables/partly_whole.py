"""Tables that keep some fields as they are and code the rows of the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.tables.base import EmbeddingLayer


class PartlyWhole(EmbeddingLayer):
    """Rows of the ``whole`` fields are numbers of their own, those of the ``coded`` ones are made by a subclass.

    Rows of coded fields are counted from the first row of the first of them, one field after the other.

    Args:
        schema: of the data set.
        width: numbers per row.
        fields: those that the model has, some of the schema's.
        whole: some of ``fields``.
        rows: ``[R, width]`` of the whole fields, one field after the other, to start from; becomes the parameter.
        sparse: gradients hold the batch's rows only.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        fields: Sequence[int],
        whole: Sequence[int],
        rows: Tensor,
        *,
        sparse: bool = False,
    ) -> None:
        super().__init__(schema, width)
        self.fields, self.sparse = tuple(sorted(int(f) for f in fields)), sparse
        self.whole = tuple(f for f in self.fields if f in set(whole))
        self.coded = tuple(f for f in self.fields if f not in set(whole))
        self.full = nn.Parameter(rows) if self.whole else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Which columns of the id matrix go where, and what makes an id of theirs a row."""
        columns = self.schema.slot_columns(self.fields)
        owners = self.schema.slot_fields[columns]
        is_coded = np.isin(owners, self.coded)
        self._runs = [(bool(run[0]), len(run)) for run in np.split(is_coded, np.flatnonzero(np.diff(is_coded)) + 1)]
        shifts = np.zeros(len(columns), dtype=np.int64)
        for members in (self.whole, self.coded):
            firsts = np.cumsum([0, *(self.schema.fields[f].cardinality for f in members)])
            mine = np.isin(owners, members)
            shifts[mine] = self.schema.offsets[:-1][owners[mine]] - firsts[np.searchsorted(members, owners[mine])]
        self._takes_all = len(columns) == self.schema.num_slots
        self._multivalued = any(self.schema.fields[f].slots > 1 for f in self.fields)
        places = np.searchsorted(self.coded, owners[is_coded]) if self.coded else np.zeros(0, dtype=np.int64)
        for name, values in {
            "columns": columns,
            "starts": self.schema.offsets[:-1][owners],
            "shifts": shifts,
            "coded_columns": np.flatnonzero(is_coded),
            "whole_columns": np.flatnonzero(~is_coded),
            "coded_places": places,
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)
        self.columns: Tensor
        self.starts: Tensor
        self.shifts: Tensor
        self.coded_columns: Tensor
        self.whole_columns: Tensor
        self.coded_places: Tensor
        """``[C]``: position in ``coded`` of the field of each coded column."""

    @abstractmethod
    def generate(self, rows: Tensor) -> Tensor:
        """``[B, C]`` int64 rows of coded fields, a column per coded slot, to ``[B, C, width]``."""

    @abstractmethod
    def pack_coded(self) -> Format:
        """The coded fields as they are served."""

    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S']`` ids of kept slots, none of them padding, to ``[B, S', width]``."""
        rows = ids.to(torch.int64) - self.shifts
        if self.full is None:
            return self.generate(rows)
        if not self.coded:
            return F.embedding(rows, self.full, sparse=self.sparse)
        parts = {
            True: self.generate(rows.index_select(1, self.coded_columns)),
            False: F.embedding(rows.index_select(1, self.whole_columns), self.full, sparse=self.sparse),
        }
        # Runs of neighbouring columns in turns: the backward of split and cat is a copy, that of an index is not.
        turns = {kind: iter(part.split([n for k, n in self._runs if k == kind], 1)) for kind, part in parts.items()}
        return torch.cat([next(turns[kind]) for kind, _ in self._runs], 1)

    def forward(self, ids: Tensor) -> Tensor:
        kept = ids if self._takes_all else ids.index_select(1, self.columns)
        if not self._multivalued:
            return self.lookup(kept)
        vectors = self.lookup(torch.where(kept == PADDING, self.starts.to(kept), kept))
        return pool_slots(vectors, kept, self.schema, self.fields)

    def pack(self) -> PackedLayer:
        parts: list[Format] = [self.pack_coded()] if self.coded else []
        if self.full is not None:
            parts.append(Dense.pack(self.schema, self.whole, self.full.detach().clone()))
        return PackedLayer(self.schema, self.width, parts)


def divide(
    schema: Schema, threshold: int, fields: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fields (all unless given) of at most ``threshold`` rows, and the larger ones: whole and coded."""
    chosen = range(schema.num_fields) if fields is None else fields
    whole = tuple(f for f in chosen if schema.fields[f].cardinality <= threshold)
    return whole, tuple(f for f in chosen if schema.fields[f].cardinality > threshold)


def largest_threshold(schema: Schema, nbytes: Callable[[int], int], budget: int, least: int) -> int:
    """The largest threshold of :func:`divide`, ``least`` or the rows of a field, that ``budget`` bytes allow.

    Spends what is left of a budget once all else is decided: further fields are kept whole, the smaller ones first.
    """
    threshold = least
    for rows in sorted(field.cardinality for field in schema.fields):
        if rows > threshold:
            if nbytes(rows) > budget:
                break
            threshold = rows
    return threshold


def count_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Rows of some fields together."""
    return sum(schema.fields[f].cardinality for f in fields)
