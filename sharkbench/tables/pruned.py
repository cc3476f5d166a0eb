"""Embedding layers that some fields have left: no rows, no lookups, no place in the output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import PADDING, Schema
from sharkbench.errors import InputError
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.table import FullTable

CHUNK = 1 << 16
"""Rows looked up at a time where a whole table is read through its layer."""


class FieldTable(EmbeddingLayer):
    """One row per id of the kept fields: ``e_i = W[i - shift]``, ``W`` ``[R, width]``, one field after the other.

    Ids are those of the whole schema, ``[B, S]``; columns of other fields are not looked at.

    Args:
        schema: of the data set, pruned fields included.
        fields: the kept fields, ascending.
        weight: ``[R, width]`` rows to start from; becomes the parameter.
        sparse: gradients hold the batch's rows only.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], weight: Tensor, *, sparse: bool = False) -> None:
        super().__init__(schema, weight.shape[1])
        self.fields, self.sparse = tuple(sorted(int(f) for f in fields)), sparse
        self.weight = nn.Parameter(weight)
        columns = torch.from_numpy(schema.slot_columns(self.fields))
        sizes = torch.tensor([schema.fields[f].cardinality for f in self.fields])
        firsts = torch.repeat_interleave(
            sizes.cumsum(0) - sizes, torch.tensor([schema.fields[f].slots for f in self.fields])
        )
        self._takes_all = len(columns) == schema.num_slots
        self._multivalued = any(schema.fields[f].slots > 1 for f in self.fields)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("starts", self.slot_starts[columns], persistent=False)
        self.register_buffer("shifts", self.slot_starts[columns] - firsts, persistent=False)
        self.columns: Tensor
        self.starts: Tensor
        self.shifts: Tensor

    def kept(self, ids: Tensor) -> Tensor:
        """``[B, S]`` ids to the ``[B, S']`` of kept slots, padding included."""
        return ids if self._takes_all else ids.index_select(1, self.columns)

    def rows(self, ids: Tensor) -> Tensor:
        """``[B, S']`` ids of kept slots, none of them padding, to rows of ``weight``, int64."""
        return ids - self.shifts

    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S']`` ids of kept slots, none of them padding, to ``[B, S', width]``."""
        return F.embedding(self.rows(ids), self.weight, sparse=self.sparse)

    def forward(self, ids: Tensor) -> Tensor:
        kept = self.kept(ids)
        if not self._multivalued:
            return self.lookup(kept)
        vectors = self.lookup(torch.where(kept == PADDING, self.starts.to(kept), kept))
        return pool_slots(vectors, kept, self.schema, self.fields)

    def pack(self) -> PackedLayer:
        table = self.weight.detach().clone()
        return PackedLayer(self.schema, self.width, [Dense.pack(self.schema, self.fields, table)])


class KeptFields(EmbeddingLayer):
    """Some fields of another layer; serves the formats of ``inner`` that belong to them.

    The rows of pruned fields stay in ``inner`` while it trains (they may share parameters with others).
    """

    def __init__(self, inner: EmbeddingLayer, fields: Sequence[int]) -> None:
        super().__init__(inner.schema, inner.width)
        self.inner, self.fields = inner, tuple(sorted(int(f) for f in fields))
        positions = torch.tensor([inner.fields.index(f) for f in self.fields])
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def lookup(self, ids: Tensor) -> Tensor:
        return self.inner.lookup(ids)

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids).index_select(1, self.positions)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.inner.parameter_groups()

    def may_stay(self) -> bool:
        return self.inner.may_stay()

    def after_step(self) -> None:
        self.inner.after_step()

    def extra_loss(self) -> Tensor | None:
        return self.inner.extra_loss()

    def pack(self) -> PackedLayer:
        """Raises InputError where a format serves kept and pruned fields from one table."""
        parts = []
        for part in self.inner.pack().formats:
            staying = set(part.fields) & set(self.fields)
            if staying and len(staying) < len(part.fields):
                names = ", ".join(self.schema.fields[f].name for f in part.fields)
                raise InputError(
                    f"fields {names} share one '{part.kind}' table, so that none of them can be pruned alone; "
                    "select fields first and compress what is left"
                )
            if staying:
                parts.append(part)
        return PackedLayer(self.schema, self.width, parts)


@singledispatch
def keep_fields(layer: EmbeddingLayer, fields: Sequence[int]) -> EmbeddingLayer:
    """``layer`` with ``fields`` (ascending, some of ``layer.fields``) only; what is left of it is not copied anew."""
    return KeptFields(layer, fields)


@keep_fields.register
def _(layer: FullTable, fields: Sequence[int]) -> EmbeddingLayer:
    return FieldTable(layer.schema, fields, rows_of(layer, fields), sparse=layer.sparse)


@keep_fields.register
def _(layer: FieldTable, fields: Sequence[int]) -> EmbeddingLayer:
    return FieldTable(layer.schema, fields, rows_of(layer, fields), sparse=layer.sparse)


@keep_fields.register
def _(layer: KeptFields, fields: Sequence[int]) -> EmbeddingLayer:
    return KeptFields(layer.inner, fields)


def rows_of(layer: EmbeddingLayer, fields: Sequence[int] | None = None) -> Tensor:
    """``[R, width]`` float32: what the layer gives for each id of ``fields`` (all that it has unless given), in order.

    A copy, on the layer's device; a layer with generated rows has them computed.
    """
    fields = layer.fields if fields is None else tuple(sorted(fields))
    if not fields:
        return torch.zeros(0, layer.width, device=layer.slot_starts.device)
    sizes = [layer.schema.fields[f].cardinality for f in layer.fields]
    if isinstance(layer, FullTable | FieldTable):
        parts = dict(zip(layer.fields, layer.weight.detach().split(sizes), strict=True))
        return torch.cat([parts[f] for f in fields])
    was_training = layer.training
    layer.eval()
    try:
        with torch.no_grad():
            return torch.cat([_read_field(layer, f) for f in fields])
    finally:
        layer.train(was_training)


def _read_field(layer: EmbeddingLayer, field: int) -> Tensor:
    schema = layer.schema
    slots = schema.slot_columns([field])
    first, end = int(schema.offsets[field]), int(schema.offsets[field + 1])
    read = []
    for start in range(first, end, CHUNK):
        ids = torch.arange(start, min(start + CHUNK, end), device=layer.slot_starts.device)
        sample = layer.slot_starts.repeat(len(ids), 1)
        # One value and padding: their mean, and their sum, is the row.
        sample[:, slots[1:]] = PADDING
        sample[:, slots[0]] = ids
        read.append(layer(sample)[:, layer.fields.index(field)])
    return torch.cat(read)
