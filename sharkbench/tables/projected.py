"""Short rows times a matrix per field, in training: mixed dimensions and low rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.formats.projected import Projected
from sharkbench.tables.base import EmbeddingLayer


class ProjectedTable(EmbeddingLayer):
    """``e_i = r_i P_f + b_f``: row ``r_i`` of its field's own dimension ``d_f``, times the field's matrix.

    First-order weights are columns of the generated row like the others. A field whose ``d_f`` is the width has whole
    rows and no matrix. Rows start normal with the full table's deviation; matrices start with orthogonal rows of the
    length that hands this deviation on, biases at zero. Matrices and biases are not regularised: what the recipe's l2
    shrinks are the rows, as in a full table.

    Args:
        schema: of the data set.
        width: numbers per row.
        dimensions: per field of ``fields``.
        init_std: of the rows of a full table.
        fields: the fields that are kept, ascending; all of them unless given.
        bias: fields with a matrix have a bias as well.
        sparse: gradients of rows hold the batch's rows only.

    Shapes: a group ``g`` of all fields of one dimension ``d``: ``rows.{g}`` ``[rows of the group, d]``, one field
    after the other; ``matrices.{g}`` ``[fields of the group, d, width]``; ``biases.{g}`` ``[fields of the group,
    width]``.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        dimensions: Sequence[int],
        init_std: float,
        *,
        fields: Sequence[int] | None = None,
        bias: bool = False,
        sparse: bool = False,
    ) -> None:
        super().__init__(schema, width)
        self.fields = tuple(range(schema.num_fields)) if fields is None else tuple(sorted(fields))
        if len(dimensions) != len(self.fields) or not all(1 <= d <= width for d in dimensions):
            raise ValueError(f"{len(self.fields)} fields need as many dimensions from 1 to {width}; got {dimensions}")
        self.dimensions, self.sparse = tuple(dimensions), sparse
        self._depths = sorted(set(dimensions))
        self.groups = [[f for f, d in zip(self.fields, dimensions, strict=True) if d == own] for own in self._depths]
        self.rows = nn.ParameterList(
            torch.empty(sum(self._sizes(members)), d).normal_(std=init_std)
            for d, members in zip(self._depths, self.groups, strict=True)
        )
        short = [(d, members) for d, members in zip(self._depths, self.groups, strict=True) if d < width]
        self.matrices = nn.ParameterList(torch.stack([_orthogonal(d, width) for _ in members]) for d, members in short)
        self.biases = nn.ParameterList(torch.zeros(len(members), width) for _, members in short if bias)
        self._lay_out()

    def _sizes(self, members: Sequence[int]) -> list[int]:
        return [self.schema.fields[f].cardinality for f in members]

    def _lay_out(self) -> None:
        """Which kept columns each group serves, where their rows begin, and which field of the group they belong to."""
        columns = self.schema.slot_columns(self.fields)
        self._takes_all = len(columns) == self.schema.num_slots
        self._multivalued = any(self.schema.fields[f].slots > 1 for f in self.fields)
        self._buffer("columns", columns)
        self._buffer("starts", self.schema.offsets[:-1][self.schema.slot_fields[columns]])
        self.columns: Tensor
        self.starts: Tensor
        owners = self.schema.slot_fields[columns].tolist()
        places: dict[int, tuple[int, int]] = {}
        for g, members in enumerate(self.groups):
            mine = [c for c, f in enumerate(owners) if f in members]
            firsts = [sum(self._sizes(members[: members.index(owners[c])])) for c in mine]
            self._buffer(f"columns{g}", mine)
            self._buffer(
                f"shifts{g}", [int(self.schema.offsets[owners[c]]) - at for c, at in zip(mine, firsts, strict=True)]
            )
            self._buffer(f"members{g}", [members.index(owners[c]) for c in mine])
            places |= {c: (g, i) for i, c in enumerate(mine)}
        self._places = [places[c] for c in range(len(owners))]

    def _buffer(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.as_tensor(values, dtype=torch.int64), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        kept = ids if self._takes_all else ids.index_select(1, self.columns)
        if not self._multivalued:
            return self.lookup(kept)
        vectors = self.lookup(torch.where(kept == PADDING, self.starts.to(kept), kept))
        return pool_slots(vectors, kept, self.schema, self.fields)

    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S']`` ids of kept slots, none of them padding, to ``[B, S', width]``."""
        # Columns as a list of views: their backward is one stack per group.
        by_group = [self._look_up_group(g, ids).unbind(0) for g in range(len(self.groups))]
        return torch.stack([by_group[g][i] for g, i in self._places], 1)

    def _look_up_group(self, g: int, ids: Tensor) -> Tensor:
        """``[C, B, width]``, ``C`` the group's columns."""
        own = ids.index_select(1, getattr(self, f"columns{g}")) - getattr(self, f"shifts{g}")
        vectors = F.embedding(own.T, self.rows[g], sparse=self.sparse)
        if g >= len(self.matrices):
            return vectors
        members = getattr(self, f"members{g}")
        matrices = self.matrices[g].index_select(0, members)
        if not self.biases:
            return torch.bmm(vectors, matrices)
        return torch.baddbmm(self.biases[g].index_select(0, members)[:, None], vectors, matrices)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.rows)}, {"params": [*self.matrices, *self.biases], "l2": 0.0}]

    @torch.no_grad()
    def assign(self, field: int, rows: Tensor, matrix: Tensor | None = None, bias: Tensor | None = None) -> None:
        """Start ``field`` from these: ``[n, d]``, and ``[d, width]`` and ``[width]`` where its rows are short."""
        g, members = next((g, members) for g, members in enumerate(self.groups) if field in members)
        own = members.index(field)
        self.rows[g].split(self._sizes(members))[own].copy_(rows)
        if matrix is not None:
            self.matrices[g][own].copy_(matrix)
        if bias is not None:
            self.biases[g][own].copy_(bias)

    def pack(self) -> PackedLayer:
        fields: list[int] = []
        rows: list[Tensor] = []
        matrices: list[Tensor] = []
        biases: list[Tensor | None] = []
        parts: list[Format] = []
        for g, members in enumerate(self.groups):
            stored = self.rows[g].detach().clone()
            if g >= len(self.matrices):
                parts.append(Dense.pack(self.schema, members, stored))
                continue
            fields += members
            rows += stored.split(self._sizes(members))
            matrices += self.matrices[g].detach().clone().unbind(0)
            biases += self.biases[g].detach().clone().unbind(0) if self.biases else [None] * len(members)
        if fields:
            rows = [row.contiguous() for row in rows]
            parts.append(Projected.pack(self.schema, fields, rows, matrices, biases=biases, width=self.width))
        return PackedLayer(self.schema, self.width, parts)


def _orthogonal(dimension: int, width: int) -> Tensor:
    """``[dimension, width]``: a row of numbers times it keeps their deviation."""
    return nn.init.orthogonal_(torch.empty(dimension, width), gain=(width / dimension) ** 0.5)
