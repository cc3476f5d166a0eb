"""One stored row per id: the base of dense and row-wise integer tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format, replicated
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.gpu.launch import Launch, alignment
from sharkbench.formats.kernels import ROWS, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take


class RowSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: RowCodec


class RowTable(Format):
    """Row ``i`` of the table is the vector of id ``i`` as ``codec`` stores it.

    Shapes: ``table`` ``[R, ...]``, ``R`` the rows of ``fields``, one field after the other in the order of ``fields``.
    """

    floats: ClassVar[bool]
    """Whether the codec is one of the float ones."""

    def __init__(self, schema: Schema, fields: Sequence[int], width: int, codec: RowCodec, table: Tensor) -> None:
        super().__init__(schema, fields, width)
        self.codec = codec
        self.register_buffer("table", table)
        self.table: Tensor
        # Global id minus shift is the row of the table.
        shifts = self.starts.numpy() - self.first_rows[self.column_fields]
        self.register_buffer("shifts", torch.from_numpy(shifts), persistent=False)
        self.shifts: Tensor

    def lookup(self, ids: Tensor) -> Tensor:
        rows = (ids - self.shifts).flatten()
        return self.codec.decode(self.table.index_select(0, rows), self.width).view(*ids.shape, self.width)

    def programs(self, columns: Columns) -> list[Program]:
        return [self.program(ROWS, columns, [self.table, *self.codec.words(self.width)])]

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch]:
        size = self.codec.row_bytes(self.width)
        said = {
            "codec": tuple(self.codec.words(self.width)),
            "row_bytes": size,
            "align": alignment(self.table, [size]),
        }
        own = {"table": self.table, "shifts": self.shifts}
        return [Launch.of("stored_rows", ids, places, out, own, said)]

    def nbytes_by_field(self) -> dict[str, int]:
        per_row = self.codec.row_bytes(self.width)
        return {
            self.schema.fields[f].name: n * per_row
            for f, n in zip(self.fields, self.cardinalities.tolist(), strict=True)
        }

    @property
    def num_parameters(self) -> int:
        return len(self.table) * self.width

    def replicate(self, times: int) -> Self:
        parts = self.table.split(self.cardinalities.tolist())
        table = torch.cat([part.repeat(times, 1) for part in parts])
        return type(self)(replicated(self.schema, times), self.fields, self.width, self.codec, table)

    def describe(self) -> dict[str, Any]:
        return {"codec": self.codec.model_dump(mode="json")}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        codec = read_settings(RowSettings, settings, cls.kind).codec
        only(tensors, {"table"}, cls.kind)
        require(codec.is_float == cls.floats, cls.kind, f"rows are said to be {codec.dtype}")
        rows = sum(schema.fields[f].cardinality for f in fields)
        table = codec.check(take(tensors, "table", cls.kind), rows, width, f"format {cls.kind}: tensor 'table'")
        return cls(schema, fields, width, codec, table)
