"""Rows read from one circular array that all fields share (ROBE), in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.shared_array import SharedArray, places
from sharkbench.tables.parts import Part, Slots


class SharedArrayRows(Part):
    """``e_i[k] = g(i, c) M[(h(i, c) + k mod Z) mod |M|]`` with the chunk ``c = k // Z``.

    Maps rows ``[B, C]`` to vectors ``[B, C, width]``. Entries of the array start from N(0, init_std), and so do those
    of the rows, however short the array is. Many rows read each weight of the array, and their gradients add up; so the
    step of an optimizer without a step size per weight (SGD) grows with the compression.

    Args:
        schema: of the data set.
        fields: of this part.
        width: weights per row.
        size: weights in the array, ``|M|``.
        block: neighbouring weights that are read together, ``Z``.
        seed: of the hash.
        signed: whether a chunk's sign is hashed too.
        init_std: standard deviation of the rows of a full table.

    Shapes: ``array`` ``[|M|, 1]``.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        size: int,
        block: int,
        seed: int,
        init_std: float,
        *,
        signed: bool = False,
    ) -> None:
        super().__init__(schema, fields, width)
        self.block, self.seed, self.signed = block, seed, signed
        self.array = nn.Parameter(torch.empty(size, 1).normal_(std=init_std))

    def forward(self, slots: Slots) -> Tensor:
        at, turned = places(slots.ids.to(torch.int64), self.width, self.block, self.seed, len(self.array))
        if self.sparse:
            numbers = F.embedding(at, self.array, sparse=True).squeeze(-1)
        else:  # the backward pass of an embedding of width one takes six times as long
            numbers = self.array.squeeze(1).index_select(0, at.flatten()).view(at.shape)
        return torch.where(turned, -numbers, numbers) if self.signed else numbers

    def pack(self) -> list[Format]:
        array = self.array.detach().squeeze(1).clone()
        return [SharedArray.pack(self.schema, self.fields, self.width, array, self.block, self.seed, self.signed)]
