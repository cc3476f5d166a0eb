"""Slots to fields: the vectors of a multi-valued field become one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from sharkbench.data.schema import PADDING, Field, Schema


def pool_slots(vectors: Tensor, ids: Tensor, schema: Schema, fields: Sequence[int]) -> Tensor:
    """``[B, S, W]`` slot vectors to ``[B, F, W]`` field vectors; empty slots (:data:`PADDING`) are ignored.

    Args:
        vectors: one vector per slot of ``fields``; those of empty slots are arbitrary.
        ids: ``[B, S]``, the ids that the vectors were looked up with.
        fields: the fields that the slots belong to, in order.
    """
    if all(schema.fields[f].slots == 1 for f in fields):
        return vectors
    # Neighbouring single-valued fields pass as one block: the backward pass of each single slice would fill a tensor of
    # the full size.
    blocks: list[tuple[int, Field | None]] = []
    for single, run in groupby((schema.fields[f] for f in fields), key=lambda field: field.slots == 1):
        neighbours = list(run)
        blocks += [(len(neighbours), None)] if single else [(field.slots, field) for field in neighbours]
    sizes = [size for size, _ in blocks]
    pooled = []
    for part, own, (_, several) in zip(vectors.split(sizes, 1), ids.split(sizes, 1), blocks, strict=True):
        if several is None:
            pooled.append(part)
            continue
        mask = own != PADDING
        # where(), not a product: the value of an empty slot, even a NaN, must have no effect.
        total = torch.where(mask.unsqueeze(-1), part, part.new_zeros(())).sum(1, keepdim=True)
        if several.pooling == "mean":
            total = total / mask.sum(1, keepdim=True).clamp(min=1).unsqueeze(-1)
        pooled.append(total)
    return torch.cat(pooled, dim=1)
