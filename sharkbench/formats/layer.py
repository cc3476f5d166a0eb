"""The packed layer: the formats of all fields together, and the one lookup that everything measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.base import Format


def pool_slots(vectors: Tensor, ids: Tensor, schema: Schema, fields: Sequence[int]) -> Tensor:
    """``[B, S, W]`` slot vectors to ``[B, F, W]`` field vectors; empty slots (:data:`PADDING`) count for nothing.

    Args:
        vectors: one vector per slot of ``fields``, what stands in an empty slot does not matter.
        ids: ``[B, S]``, the ids that the vectors were looked up with.
        fields: the fields that the slots belong to, in order.
    """
    if all(schema.fields[f].slots == 1 for f in fields):
        return vectors
    pooled, start = [], 0
    for f in fields:
        field = schema.fields[f]
        part, mask = vectors[:, start : start + field.slots], ids[:, start : start + field.slots] != PADDING
        start += field.slots
        # where(), not a product: whatever an empty slot holds, even a NaN, stays out.
        total = torch.where(mask.unsqueeze(-1), part, part.new_zeros(())).sum(1)
        if field.pooling == "mean":
            total = total / mask.sum(1, keepdim=True).clamp(min=1)
        pooled.append(total)
    return torch.stack(pooled, dim=1)


class PackedLayer(nn.Module):
    """Formats side by side: ids ``[B, S]`` to field vectors ``[B, F, width]`` float32, ``F`` counting kept fields only.

    A field that no format serves has been pruned: it costs nothing and is not looked up. Kept fields come out in the
    schema's order.
    """

    def __init__(self, schema: Schema, width: int, parts: Sequence[Format]) -> None:
        super().__init__()
        self.schema, self.width = schema, width
        self.parts = nn.ModuleList(parts)
        served = [f for part in parts for f in part.fields]
        if len(set(served)) != len(served):
            raise ValueError("a field is served by two formats")
        self.fields: tuple[int, ...] = tuple(sorted(served))
        kept = schema.slot_columns(self.fields) if self.fields else np.zeros(0, dtype=np.int64)
        position = {int(slot): i for i, slot in enumerate(kept)}
        self._takes_all = len(kept) == schema.num_slots
        self.register_buffer("_kept", torch.from_numpy(kept), persistent=False)
        for i, part in enumerate(parts):
            places = torch.tensor([position[int(s)] for s in schema.slot_columns(part.fields)])
            self.register_buffer(f"_places{i}", places, persistent=False)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.formats)

    @property
    def formats(self) -> list[Format]:
        return list(self.parts)  # type: ignore[arg-type]

    def nbytes_by_field(self) -> dict[str, int]:
        """Bytes per field name over all formats, ``"(shared)"`` for what several fields share."""
        total: dict[str, int] = {}
        for part in self.formats:
            for name, nbytes in part.nbytes_by_field().items():
                total[name] = total.get(name, 0) + nbytes
        return total

    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S]`` ids to one vector per kept slot, ``[B, S', width]``, before pooling."""
        kept = ids if self._takes_all else ids.index_select(1, self._kept)
        if self.schema.multivalued:
            # An empty slot has no row of its own: look up any row, pooling drops it.
            kept = torch.where(kept == PADDING, self._first_row(kept), kept)
        if len(self.parts) == 1:
            return self.formats[0].lookup(kept)
        out = torch.empty(*kept.shape, self.width)
        for i, part in enumerate(self.formats):
            places = getattr(self, f"_places{i}")
            out[:, places] = part.lookup(kept.index_select(1, places))
        return out

    def forward(self, ids: Tensor) -> Tensor:
        """``[B, S]`` ids to ``[B, F, width]`` field vectors."""
        vectors = self.lookup(ids)
        kept = ids if self._takes_all else ids.index_select(1, self._kept)
        return pool_slots(vectors, kept, self.schema, self.fields)

    def _first_row(self, ids: Tensor) -> Tensor:
        starts = self.schema.offsets[:-1][self.schema.slot_fields[self._kept.numpy()]]
        return torch.from_numpy(starts).to(ids)
