"""Short rows times a matrix per field, in training: mixed dimensions and low rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.dense import Dense
from sharkbench.formats.projected import Projected
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.sharded import lookup


class ProjectedRows(Part):
    """``e_i = r_i P_f + b_f``: row ``r_i`` of its field's own dimension ``d_f``, times the field's matrix.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. First-order weights are columns of the generated row like the others.
    A field whose ``d_f`` is the width has full rows and no matrix. Rows start normal with the full table's standard
    deviation; matrices start with orthogonal rows of the norm that preserves this standard deviation, biases at zero.
    Matrices and biases are not regularised: the recipe's l2 applies to the rows, as in a full table.

    Args:
        schema: of the data set.
        fields: of this part, ascending.
        width: weights per row.
        dimensions: of each field.
        init_std: standard deviation of the rows of a full table.
        bias: fields with a matrix have a bias as well.

    Shapes: a group ``g`` of all fields of one dimension ``d``: ``rows.{g}`` ``[rows of the group, d]``, one field
    after the other; ``matrices.{g}`` ``[fields of the group, d, width]``; ``biases.{g}`` ``[fields of the group,
    width]``.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        dimensions: Sequence[int],
        init_std: float,
        *,
        bias: bool = False,
    ) -> None:
        super().__init__(schema, fields, width)
        if len(dimensions) != len(self.fields) or not all(1 <= d <= width for d in dimensions):
            raise ValueError(f"{len(self.fields)} fields need as many dimensions from 1 to {width}; got {dimensions}")
        self.dimensions = tuple(dimensions)
        self._depths = sorted(set(dimensions))
        self.groups = [[f for f, d in zip(self.fields, dimensions, strict=True) if d == own] for own in self._depths]
        self.rows = nn.ParameterList(
            torch.empty(sum(self._sizes(members)), d).normal_(std=init_std)
            for d, members in zip(self._depths, self.groups, strict=True)
        )
        short = [(d, members) for d, members in zip(self._depths, self.groups, strict=True) if d < width]
        self.matrices = nn.ParameterList(torch.stack([_orthogonal(d, width) for _ in members]) for d, members in short)
        self.biases = nn.ParameterList(torch.zeros(len(members), width) for _, members in short if bias)
        self._layouts: dict[Any, tuple[list[tuple[Tensor, Tensor, Tensor]], list[tuple[int, int]]]] = {}

    def _sizes(self, members: Sequence[int]) -> list[int]:
        return [self.schema.fields[f].cardinality for f in members]

    def forward(self, slots: Slots) -> Tensor:
        groups, places = self._divided(slots)
        # Columns as a list of views: their backward pass is one stack per group.
        by_group = [self._look_up(g, slots.local, *own).unbind(0) for g, own in enumerate(groups)]
        return torch.stack([by_group[g][i] for g, i in places], 1)

    def _look_up(self, g: int, local: Tensor, columns: Tensor, firsts: Tensor, members: Tensor) -> Tensor:
        """``[C, B, width]``, ``C`` the ``columns`` of the group, given their first rows and fields in the group."""
        own = local.index_select(1, columns) + firsts
        vectors = lookup(self.rows[g], own.T, sparse=self.sparse)
        if g >= len(self.matrices):
            return vectors
        matrices = self.matrices[g].index_select(0, members)
        if not self.biases:
            return torch.bmm(vectors, matrices)
        return torch.baddbmm(self.biases[g].index_select(0, members)[:, None], vectors, matrices)

    def _divided(self, slots: Slots) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[tuple[int, int]]]:
        """Per group the arguments of :meth:`_look_up`, and for each slot its group and its position in the group."""
        known = self._layouts.get(key := (tuple(slots.places), slots.ids.device))
        if known is None:
            group_of = {f: g for g, members in enumerate(self.groups) for f in members}
            owners = [self.fields[place] for place in slots.places]
            columns = [[c for c, f in enumerate(owners) if group_of[f] == g] for g in range(len(self.groups))]
            groups = []
            for members, own in zip(self.groups, columns, strict=True):
                at = [members.index(owners[c]) for c in own]
                firsts = [sum(self._sizes(members[:place])) for place in at]
                with torch.inference_mode(False):  # validation may be first, and training reads them as well
                    made = [torch.tensor(n, dtype=torch.int64, device=key[1]) for n in (own, firsts, at)]
                groups.append((made[0], made[1], made[2]))
            places = [(g := group_of[f], columns[g].index(c)) for c, f in enumerate(owners)]
            known = self._layouts[key] = (groups, places)
        return known

    def row_tables(self) -> list[nn.Parameter]:
        return list(self.rows)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.rows)}, {"params": [*self.matrices, *self.biases], "l2": 0.0}]

    @torch.no_grad()
    def assign(self, field: int, rows: Tensor, matrix: Tensor | None = None, bias: Tensor | None = None) -> None:
        """Set ``field`` to rows ``[n, d]``, and where they are short, matrix ``[d, width]`` and bias ``[width]``."""
        g, members = next((g, members) for g, members in enumerate(self.groups) if field in members)
        own = members.index(field)
        self.rows[g].split(self._sizes(members))[own].copy_(rows)
        if matrix is not None:
            self.matrices[g][own].copy_(matrix)
        if bias is not None:
            self.biases[g][own].copy_(bias)

    def pack(self) -> list[Format]:
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
        return parts


def _orthogonal(dimension: int, width: int) -> Tensor:
    """``[dimension, width]`` with orthogonal rows; a row times it keeps its standard deviation."""
    return nn.init.orthogonal_(torch.empty(dimension, width), gain=(width / dimension) ** 0.5)
