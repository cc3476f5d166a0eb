"""Layers that keep a row per id in some fields and make the rows of the others up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.sharded import lookup


class WithWholeFields(EmbeddingLayer):
    """``e_i = W[i]`` in fields that are kept whole; a subclass makes the rows of the other fields.

    A subclass implements :meth:`make` and :meth:`pack_made`, and calls :meth:`keep_whole` once its own parameters
    stand.

    Args:
        schema: of the data set.
        width: numbers per row.
        made: the fields whose rows the subclass makes.
        sparse: gradients of the whole rows hold the batch's rows only.

    Shapes: ``full`` ``[rows of whole fields, width]``.
    """

    def __init__(self, schema: Schema, width: int, made: Sequence[int], *, sparse: bool = False) -> None:
        super().__init__(schema, width)
        self.sparse = sparse
        self.made = tuple(sorted(int(f) for f in made))
        self.kept = tuple(f for f in range(schema.num_fields) if f not in set(self.made))
        self.full: nn.Parameter | None
        fields = schema.slot_fields
        is_made = np.isin(fields, self.made)
        self._runs = [list(run) for run in np.split(is_made, np.flatnonzero(np.diff(is_made)) + 1)]
        made_columns, kept_columns = np.flatnonzero(is_made), np.flatnonzero(~is_made)
        self.register_buffer("made_columns", torch.from_numpy(made_columns), persistent=False)
        self.register_buffer("kept_columns", torch.from_numpy(kept_columns), persistent=False)
        self.made_columns: Tensor
        self.kept_columns: Tensor
        self.made_fields: list[int] = fields[made_columns].tolist()
        """``[C]``: the field of each column that :meth:`make` gets."""
        firsts = np.cumsum([0, *(schema.fields[f].cardinality for f in self.kept)])
        shifts = schema.offsets[:-1][fields[kept_columns]] - firsts[np.searchsorted(self.kept, fields[kept_columns])]
        self.register_buffer("shifts", torch.from_numpy(shifts), persistent=False)
        self.shifts: Tensor

    def keep_whole(self, init_std: float) -> None:
        """Give the kept fields their rows, from N(0, init_std)."""
        rows = sum(self.schema.fields[f].cardinality for f in self.kept)
        self.full = nn.Parameter(torch.empty(rows, self.width).normal_(std=init_std)) if self.kept else None

    @abstractmethod
    def make(self, ids: Tensor) -> Tensor:
        """``[B, C]`` global ids of the columns of ``made``, none of them padding, to ``[B, C, width]``."""

    @abstractmethod
    def pack_made(self) -> Format:
        """The serving form of the fields in ``made``; asked for where there are any."""

    def lookup(self, ids: Tensor) -> Tensor:
        if not self.made:
            return self._keep(ids)
        made = self.make(ids if not self.kept else ids.index_select(1, self.made_columns))
        if not self.kept:
            return made
        kept = self._keep(ids.index_select(1, self.kept_columns))
        # Runs of neighbouring columns in turns: the backward of split and cat is a copy, that of an index is not.
        sources = {True: iter(made.split(self._lengths(True), 1)), False: iter(kept.split(self._lengths(False), 1))}
        return torch.cat([next(sources[bool(run[0])]) for run in self._runs], 1)

    def _lengths(self, made: bool) -> list[int]:
        return [len(run) for run in self._runs if bool(run[0]) == made]

    def _keep(self, ids: Tensor) -> Tensor:
        assert self.full is not None
        return lookup(self.full, ids - self.shifts, sparse=self.sparse)

    def row_tables(self) -> list[nn.Parameter]:
        return [self.full] if self.full is not None else []

    def pack(self) -> PackedLayer:
        parts: list[Format] = [self.pack_made()] if self.made else []
        if self.full is not None:
            parts.append(Dense.pack(self.schema, self.kept, self.full.detach().clone()))
        return PackedLayer(self.schema, self.width, parts)
