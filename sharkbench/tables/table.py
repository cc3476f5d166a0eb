"""The full-precision table, what every compressed one is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.sharded import lookup


class FullTable(EmbeddingLayer):
    """One row per id, all fields in one merged table: ``e_i = W[i]``, ``W`` ``[N, width]``.

    Args:
        schema: of the data set.
        width: numbers per row.
        init_std: rows start from N(0, init_std).
        sparse: gradients hold the batch's rows only, as optimizers want that touch no others.
    """

    def __init__(self, schema: Schema, width: int, init_std: float, *, sparse: bool = False) -> None:
        super().__init__(schema, width)
        self.sparse = sparse
        self.weight = nn.Parameter(torch.empty(schema.num_rows, width).normal_(std=init_std))

    def lookup(self, ids: Tensor) -> Tensor:
        return lookup(self.weight, ids, sparse=self.sparse)

    def row_tables(self) -> list[nn.Parameter]:
        return [self.weight]

    def pack(self) -> PackedLayer:
        table = self.weight.detach().clone()
        return PackedLayer(self.schema, self.width, [Dense.pack(self.schema, self.fields, table)])
