"""Uncompressed rows: fp32, fp16 or bf16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self, get_args

import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, num_rows
from sharkbench.formats.codec import FLOATS, FloatName, RowCodec
from sharkbench.formats.rows import RowTable


class Dense(RowTable):
    """``e_i = W[i]``, every row with all its values; ``table`` is ``[R, width]`` float32, float16 or bfloat16."""

    kind = "dense"
    floats = True

    @classmethod
    def pack(cls, schema: Schema, fields: Sequence[int], table: Tensor, dtype: FloatName = "fp32") -> Self:
        """``table`` ``[R, width]``: the rows of ``fields``, one field after the other."""
        codec = RowCodec(dtype=dtype)
        return cls(schema, fields, table.shape[1], codec, codec.encode(table))

    @classmethod
    def bytes_of(cls, rows: int, width: int, dtype: FloatName = "fp32") -> int:
        """Bytes of so many rows of ``width`` values."""
        return rows * RowCodec(dtype=dtype).row_bytes(width)

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows = torch.randn(num_rows(schema, fields), width)
        for dtype in get_args(FloatName):
            as_stored = rows.to(FLOATS[dtype]).float()
            yield Example(cls.pack(schema, fields, rows, dtype), cls.bytes_of(len(rows), width, dtype), as_stored)
