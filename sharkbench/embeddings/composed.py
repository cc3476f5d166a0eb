"""Rows composed of a few rows of small tables: the hashing trick, QR and their relatives, in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.embeddings.base import EmbeddingLayer
from sharkbench.formats.base import Format
from sharkbench.formats.composed import Composed, Operation
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import Digit, Hash
from sharkbench.formats.layer import PackedLayer

FieldFunctions = Sequence[Digit | Hash]
"""The index functions of one field, one per small table; none where the field keeps its full table."""


class ComposedTable(EmbeddingLayer):
    """``e_i = T_0[h_0(i)] op T_1[h_1(i)] op ...`` with ``i`` the local id and ``op`` one of add, mult and concat.

    Every composed field has ``k`` small tables; those of all fields lie in one merged parameter per ``j < k``. A field
    without index functions keeps a row per id. Entries of the small tables start normal, such that entries of the
    *generated* rows have the standard deviation ``init_std`` of a full table's: ``init_std / sqrt(k)`` for add,
    ``init_std`` for concat.

    With mult, the factors after the first are kept as ``1 + table``, tables starting from N(0, 1/4). A product of
    factors around zero has a saddle there that weight decay drives all rows into; around one, decay only makes them
    share more. This is this project's own form; the packed factors are the products' plain ones.

    Args:
        schema: of the data set.
        width: numbers per row; concat divides them among the parts.
        functions: per field of the schema, its ``k`` index functions, or none.
        combine: the operation; of no meaning with ``k = 1``.
        init_std: of the rows of a full table.
        sparse: gradients hold the batch's rows only.

    Shapes: parameters ``tables.{j}`` ``[sum of moduli of part j, width of part j]``, ``full`` ``[rows of full fields,
    width]``.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        functions: Sequence[FieldFunctions],
        combine: Operation,
        init_std: float,
        *,
        sparse: bool = False,
    ) -> None:
        super().__init__(schema, width)
        if len(functions) != schema.num_fields:
            raise ValueError(f"{len(functions)} lists of index functions for {schema.num_fields} fields")
        self.combine, self.sparse = combine, sparse
        self.composed = tuple(f for f, made_of in enumerate(functions) if made_of)
        self.kept = tuple(f for f, made_of in enumerate(functions) if not made_of)
        # [parts][composed fields]
        self.functions = [list(part) for part in zip(*(functions[f] for f in self.composed), strict=True)]
        widths = part_widths(width, len(self.functions), combine)
        stds = factor_stds(init_std, len(self.functions), combine)
        self.tables = nn.ParameterList(
            torch.empty(sum(f.modulus for f in part), w).normal_(std=std)
            for part, w, std in zip(self.functions, widths, stds, strict=True)
        )
        rows = sum(schema.fields[f].cardinality for f in self.kept)
        self.full = nn.Parameter(torch.empty(rows, width).normal_(std=init_std)) if self.kept else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Which columns of the id matrix go where, and where the rows of each column's field begin."""
        fields = self.schema.slot_fields
        is_composed = np.isin(fields, self.composed)
        self._runs = [list(run) for run in np.split(is_composed, np.flatnonzero(np.diff(is_composed)) + 1)]
        composed, kept = np.flatnonzero(is_composed), np.flatnonzero(~is_composed)
        self.register_buffer("composed_columns", torch.from_numpy(composed), persistent=False)
        self.register_buffer("kept_columns", torch.from_numpy(kept), persistent=False)
        self.composed_columns: Tensor
        self.kept_columns: Tensor
        place = {f: i for i, f in enumerate(self.composed)}
        self._places = [place[int(f)] for f in fields[composed]]
        bases = [np.cumsum([0, *(f.modulus for f in part)])[self._places] for part in self.functions]
        self.register_buffer("bases", torch.from_numpy(np.array(bases, dtype=np.int64)), persistent=False)
        self.bases: Tensor
        firsts = np.cumsum([0, *(self.schema.fields[f].cardinality for f in self.kept)])
        shifts = self.schema.offsets[:-1][fields[kept]] - firsts[np.searchsorted(self.kept, fields[kept])]
        self.register_buffer("shifts", torch.from_numpy(shifts), persistent=False)
        self.shifts: Tensor

    def lookup(self, ids: Tensor) -> Tensor:
        if not self.composed:
            return self._keep(ids)
        columns = ids if not self.kept else ids.index_select(1, self.composed_columns)
        starts = self.slot_starts.index_select(0, self.composed_columns)
        composed = self._compose(columns - starts)
        if not self.kept:
            return composed
        kept = self._keep(ids.index_select(1, self.kept_columns))
        # Runs of neighbouring columns in turns: the backward of split and cat is a copy, that of an index is not.
        sources = {True: iter(composed.split(self._lengths(True), 1)), False: iter(kept.split(self._lengths(False), 1))}
        return torch.cat([next(sources[bool(run[0])]) for run in self._runs], 1)

    def _lengths(self, composed: bool) -> list[int]:
        return [len(run) for run in self._runs if bool(run[0]) == composed]

    def _keep(self, ids: Tensor) -> Tensor:
        assert self.full is not None
        return F.embedding(ids - self.shifts, self.full, sparse=self.sparse)

    def _compose(self, local: Tensor) -> Tensor:
        """``[B, C]`` int64 local ids of the composed columns to ``[B, C, width]``."""
        parts = [F.embedding(self._rows(j, local), table, sparse=self.sparse) for j, table in enumerate(self.tables)]
        if self.combine == "concat":
            return torch.cat(parts, -1)
        result = parts[0]
        for part in parts[1:]:
            result = result + part if self.combine == "add" else result * (1 + part)
        return result

    def _rows(self, j: int, local: Tensor) -> Tensor:
        functions = [self.functions[j][place] for place in self._places]
        rows = torch.stack([f(column) for f, column in zip(functions, local.unbind(1), strict=True)], 1)
        return rows + self.bases[j]

    def pack(self) -> PackedLayer:
        parts: list[Format] = []
        if self.composed:
            tables = [table.detach().clone() for table in self.tables]
            if self.combine == "mult":
                tables[1:] = [1 + table for table in tables[1:]]
            parts.append(Composed.pack(self.schema, self.composed, self.functions, tables, self.combine))
        if self.full is not None:
            parts.append(Dense.pack(self.schema, self.kept, self.full.detach().clone()))
        return PackedLayer(self.schema, self.width, parts)


def part_widths(width: int, parts: int, combine: Operation) -> list[int]:
    """Numbers per row of each part: all of them, or for concat an equal share, the first parts taking what is left."""
    if combine != "concat":
        return [width] * parts
    return [width // parts + (j < width % parts) for j in range(parts)]


FACTOR_STD = 0.5
"""Spread around one at which the factors of a product start."""


def factor_stds(init_std: float, parts: int, combine: Operation) -> list[float]:
    """Standard deviation of each small table's entries, so that entries of the generated rows have ``init_std``."""
    if parts == 0:
        return []
    if combine == "add":
        return [init_std / parts**0.5] * parts
    if combine == "concat":
        return [init_std] * parts
    return [init_std / (1 + FACTOR_STD**2) ** ((parts - 1) / 2)] + [FACTOR_STD] * (parts - 1)


def composed_nbytes(schema: Schema, width: int, functions: Sequence[FieldFunctions], combine: Operation) -> int:
    """Bytes of the packed layer that a :class:`ComposedTable` of digits becomes, in closed form."""
    total = 0
    for field, made_of in zip(schema.fields, functions, strict=True):
        widths = part_widths(width, len(made_of), combine)
        rows = (
            sum(f.modulus * w for f, w in zip(made_of, widths, strict=True)) if made_of else field.cardinality * width
        )
        total += 4 * rows
    return total
