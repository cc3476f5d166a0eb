"""One row per id: the full table, uncompressed small fields, and the base of parts that prune or round rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.sharded import lookup


class Rows(Part):
    """``e_i = W[i]``, ``W`` ``[R, width]`` float32, field after field; rows ``[B, C]`` to vectors ``[B, C, width]``.

    Args:
        schema, fields: as for :class:`Part`.
        weight: ``[R, width]`` initial rows; becomes the parameter.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], weight: Tensor) -> None:
        super().__init__(schema, fields, weight.shape[1])
        if len(weight) != self.num_rows:
            raise ValueError(f"{len(weight)} rows for fields of {self.num_rows}")
        self.weight = nn.Parameter(weight)

    @classmethod
    def initial(cls, schema: Schema, fields: Sequence[int], width: int, init_std: float) -> Rows:
        """Rows from N(0, init_std)."""
        rows = sum(schema.fields[f].cardinality for f in fields)
        return Rows(schema, fields, torch.empty(rows, width).normal_(std=init_std))

    def forward(self, slots: Slots) -> Tensor:
        return lookup(self.weight, slots.rows, sparse=self.sparse)

    def row_tables(self) -> list[nn.Parameter]:
        return [self.weight]

    def chosen(self, whole: Tensor, fields: Sequence[int]) -> Tensor:
        """Of ``[R, ...]``, a value per row of the part, the values of ``fields``."""
        parts = dict(zip(self.fields, whole.split(self.sizes), strict=True))
        return torch.cat([parts[f] for f in fields])

    def keep(self, fields: Sequence[int]) -> Part | None:
        return Rows(self.schema, fields, self.chosen(self.weight.detach(), fields))

    def read(self, field: int) -> Tensor:
        return self.chosen(self.weight.detach(), [field])

    def pack(self) -> list[Format]:
        return [Dense.pack(self.schema, self.fields, self.weight.detach().clone())]
