"""Rows that are codes: each part of a row is one of a few codewords."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.tables.composed import part_widths
from sharkbench.tables.parts import Part, Slots


class CodewordRows(Part):
    """``e_i = C_1[c_i1] ++ C_2[c_i2] ++ ...``: codes are fixed, codewords are trained.

    Rows ``[B, C]`` to vectors ``[B, C, width]``.

    Args:
        schema, fields: as for :class:`Part`.
        codes: ``[R, parts]``.
        books: one per part, ``[K, width of the part]``, or ``[fields * K, ...]`` with ``per_field``.
        per_field: each field has codewords of its own.
    """

    def __init__(
        self, schema: Schema, fields: Sequence[int], codes: Tensor, books: Sequence[Tensor], *, per_field: bool
    ) -> None:
        super().__init__(schema, fields, sum(book.shape[1] for book in books))
        self.per_field = per_field
        self.register_buffer("codes", codes.to(torch.int32))
        self.codes: Tensor
        self.books = nn.ParameterList(books)

    def forward(self, slots: Slots) -> Tensor:
        codes = self.codes[slots.rows].to(torch.int64)
        if self.per_field:
            codewords = len(self.books[0]) // len(self.fields)
            codes = codes + (slots.owner * codewords)[:, None]
        return torch.cat([F.embedding(codes[..., j], book) for j, book in enumerate(self.books)], -1)

    def pack(self) -> list[Format]:
        books = [book.detach().clone() for book in self.books]
        return [Codebooks.pack(self.schema, self.fields, self.codes, books, per_field=self.per_field)]


def widths_of_parts(dimension: int, first_order: int, parts: int) -> list[int]:
    """Width of each part of a row: the vector in ``parts`` parts, and one more part for first-order weights."""
    vector = part_widths(dimension, parts, "concat") if dimension else []
    return [*vector, first_order] if first_order else vector


def most_read(schema: Schema, fields: Sequence[int], count: int) -> Tensor:
    """``[R]`` bool: the ``count`` rows of ``fields`` that training reads most; of rows read equally often, the first.

    Where frequencies are not known, the first rows.
    """
    total = sum(schema.fields[f].cardinality for f in fields)
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[reads(schema, fields).argsort(descending=True, stable=True)[:count]] = True
    return chosen


def reads(schema: Schema, fields: Sequence[int]) -> Tensor:
    """``[R]`` int64: how often training reads each row of ``fields``, one field after the other; 0 if not known."""
    counts = schema.frequencies
    if counts is None or not fields:
        return torch.zeros(sum(schema.fields[f].cardinality for f in fields), dtype=torch.int64)
    return torch.cat([torch.from_numpy(counts[schema.offsets[f] : schema.offsets[f + 1]]) for f in fields])
