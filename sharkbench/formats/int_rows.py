"""Rows of 8, 4, 2 or 1 bit integers, each with its own scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, num_rows
from sharkbench.formats.codec import BITS, RowCodec
from sharkbench.formats.rows import RowTable


class IntRows(RowTable):
    """``e_i = codes_i * scale_i + offset_i``; ``table`` is ``[R, row_bytes]`` uint8, see :class:`RowCodec`."""

    kind = "int_rows"
    floats = False

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        table: Tensor,
        codec: RowCodec,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> Self:
        """Round ``table`` ``[R, width]`` to the nearest code; ``low``, ``high`` ``[R]`` clip, see RowCodec.encode."""
        return cls(schema, fields, table.shape[1], codec, codec.encode(table, low, high))

    @classmethod
    def of_codes(
        cls,
        schema: Schema,
        fields: Sequence[int],
        codes: Tensor,
        codec: RowCodec,
        scale: Tensor,
        offset: Tensor | None = None,
        tail: Tensor | None = None,
    ) -> Self:
        """From trained integers: ``codes`` ``[R, width - tail]`` counted from 0, ``scale`` and ``offset`` ``[R]``."""
        width = codes.shape[1] + codec.tail
        return cls(schema, fields, width, codec, codec.assemble(codes, scale, offset, tail))

    @classmethod
    def bytes_of(cls, rows: int, width: int, codec: RowCodec) -> int:
        """Bytes of so many rows of ``width`` values, scales, offsets and the tail included."""
        return rows * codec.row_bytes(width)

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows = torch.randn(num_rows(schema, fields), width)
        for tail in {0, 1, width // 3}:
            for dtype in BITS:
                codec = RowCodec.model_validate({"dtype": dtype, "symmetric": tail > 0, "tail": tail})
                as_stored = codec.decode(codec.encode(rows), width)
                yield Example(cls.pack(schema, fields, rows, codec), cls.bytes_of(len(rows), width, codec), as_stored)
