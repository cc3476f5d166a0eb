"""Rows cut from one circular array that all fields share (ROBE), in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.shared_array import SharedArray, places
from sharkbench.tables.whole_fields import WithWholeFields


class SharedArrayTable(WithWholeFields):
    """``e_i[k] = g(i, c) M[(h(i, c) + k mod Z) mod |M|]`` with the chunk ``c = k // Z``; some fields may stay whole.

    Entries of the array start from N(0, init_std), and so do those of the rows, however short the array is. Every
    number of it is read by many rows: their gradients add up, so that the step of an optimizer without a step size
    per number (SGD) grows with the compression.

    Args:
        schema: of the data set.
        width: numbers per row.
        made: the fields that are cut from the array; the others keep a row per id.
        size: numbers in the array, ``|M|``.
        block: neighbouring numbers that are read together, ``Z``.
        seed: of the hash.
        signed: whether a chunk's sign is hashed too.
        init_std: of the rows of a full table.
        sparse: gradients hold the batch's numbers only.

    Shapes: ``array`` ``[|M|, 1]``, ``full`` ``[rows of whole fields, width]``.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        made: Sequence[int],
        size: int,
        block: int,
        seed: int,
        init_std: float,
        *,
        signed: bool = False,
        sparse: bool = False,
    ) -> None:
        super().__init__(schema, width, made, sparse=sparse)
        self.block, self.seed, self.signed = block, seed, signed
        self.array = nn.Parameter(torch.empty(size, 1).normal_(std=init_std))
        self.keep_whole(init_std)

    def make(self, ids: Tensor) -> Tensor:
        at, turned = places(ids.to(torch.int64), self.width, self.block, self.seed, len(self.array))
        if self.sparse:
            numbers = F.embedding(at, self.array, sparse=True).squeeze(-1)
        else:  # the backward of an embedding of single numbers takes six times as long
            numbers = self.array.squeeze(1).index_select(0, at.flatten()).view(at.shape)
        return torch.where(turned, -numbers, numbers) if self.signed else numbers

    def pack_made(self) -> SharedArray:
        array = self.array.detach().squeeze(1).clone()
        return SharedArray.pack(self.schema, self.made, self.width, array, self.block, self.seed, self.signed)
