"""A layer restricted to some of its fields, and the rows that a layer returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sharkbench.data.schema import PADDING
from sharkbench.errors import InputError
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.parts import CHUNK, Table


class KeptFields(EmbeddingLayer):
    """Some fields of another layer: ids ``[B, S]`` to ``[B, F', width]``; packs the formats of ``inner`` for them.

    In training, the rows of pruned fields stay in ``inner`` (they may share weights with others).
    """

    def __init__(self, inner: EmbeddingLayer, fields: Sequence[int]) -> None:
        super().__init__(inner.schema, inner.width, fields)
        self.inner = inner
        positions = torch.tensor([inner.fields.index(f) for f in self.fields])
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids).index_select(1, self.positions)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.inner.parameter_groups()

    def row_tables(self) -> list[torch.nn.Parameter]:
        return self.inner.row_tables()

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


def keep_fields(layer: EmbeddingLayer, fields: Sequence[int]) -> EmbeddingLayer:
    """``layer`` with ``fields`` (some of ``layer.fields``) only; rows that no other field shares are copied."""
    fields = tuple(sorted(fields))
    if isinstance(layer, KeptFields):
        return KeptFields(layer.inner, fields)
    if isinstance(layer, Table):
        left = [(part, [f for f in part.fields if f in set(fields)]) for part in layer.members]
        parts = [part if len(own) == len(part.fields) else part.keep(own) for part, own in left if own]
        if all(part is not None for part in parts):
            return Table(layer.schema, layer.width, [part for part in parts if part is not None])
    return KeptFields(layer, fields)


def rows_of(layer: EmbeddingLayer, fields: Sequence[int] | None = None) -> Tensor:
    """``[R, width]`` float32: the layer's row of each id of ``fields`` (all that it has unless given), in order.

    A copy, on the layer's device; generated rows are computed.
    """
    fields = layer.fields if fields is None else tuple(sorted(fields))
    if not fields:
        return torch.zeros(0, layer.width, device=layer.slot_starts.device)
    was_training = layer.training
    layer.eval()
    try:
        with torch.no_grad():
            if isinstance(layer, Table):
                part_of = {f: part for part in layer.members for f in part.fields}
                return torch.cat([part_of[f].read(f) for f in fields])
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
