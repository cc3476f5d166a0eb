"""Parts over groups of rows (the popular and the rare, users and items), each with its own lookup."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.row_groups import RowGroups, check_groups, schema_of_group
from sharkbench.formats.tier_index import TierIndex
from sharkbench.tables.parts import Composite, Layout, Part, Slots

MakePart = Callable[[Schema, Sequence[int]], Part]
"""A part over all fields of the schema of a group."""


class GroupedRows(Composite, Part):
    """``e_i = part_g(i)[rank(i)]`` with ``g(i)`` the group of row ``i``, and its rank among the rows of the group.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. A group's part has a schema of its own: the rows of the group, field
    after field, in the order of their ids. It looks up rows of its group only.

    Args:
        schema, fields: as for :class:`Part`.
        groups: ``[R]`` integers, the group of each row of ``fields``, one field after the other; up to 8 groups, each
            with rows.
        make: creates the part of each group.

    Raises:
        ValueError: a group has no rows, rows have no group, or groups give rows of different widths.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], groups: Tensor, make: Sequence[MakePart]) -> None:
        check_groups(groups, len(make))
        fields = sorted(fields)
        sizes = [schema.fields[f].cardinality for f in fields]
        counts = [torch.bincount(own.long(), minlength=len(make)).tolist() for own in groups.split(sizes)]
        schemas = [schema_of_group(schema, fields, own) for own in zip(*counts, strict=True)]
        parts = [one(own, range(own.num_fields)) for one, own in zip(make, schemas, strict=True)]
        super().__init__(schema, fields, parts[0].width)
        if any(part.width != self.width for part in parts):
            raise ValueError("groups give rows of different widths")
        self.parts = nn.ModuleList(parts)
        self.register_buffer("groups", groups.to(torch.uint8))
        self.groups: Tensor
        self.index = TierIndex.of(groups, len(parts))
        # [groups][fields]: the field's position among those of the group; not used where it has no row there.
        self._places = [np.cumsum([n > 0 for n in own]) - 1 for own in zip(*counts, strict=True)]
        self._present = [np.array(own) > 0 for own in zip(*counts, strict=True)]

    def forward(self, slots: Slots) -> Tensor:
        group, rank = self.index.locate(slots.rows)
        owners, found = np.array(slots.places), torch.zeros(*slots.ids.shape, self.width, device=slots.ids.device)
        for g, part in enumerate(self.members):
            mine = group == g
            columns = (mine.any(0) & torch.from_numpy(self._present[g][owners]).to(mine.device)).nonzero().flatten()
            if not len(columns):
                continue
            mine = mine.index_select(1, columns)
            ranks = rank.index_select(1, columns)
            # Rows of other groups are replaced by one that the column reads anyway, so that no other row is touched.
            ids = torch.where(mine, ranks, ranks.gather(0, mine.int().argmax(0, keepdim=True)))
            layout = Layout(part.schema, part.fields, self._places[g][owners[columns.cpu().numpy()]]).to(ids.device)
            present = mine if slots.present is None else mine & slots.present.index_select(1, columns)
            vectors = part(Slots(ids, layout, present))
            own = torch.zeros_like(found).index_copy(1, columns, torch.where(mine[..., None], vectors, 0.0))
            found = found + own
        return found

    def pack(self) -> list[Format]:
        packed = [part.pack() for part in self.members]
        if several := [own for own in packed if len(own) > 1]:
            raise ValueError(f"a group of rows is packed as one format, not as {len(several[0])}")
        return [RowGroups.pack(self.schema, self.fields, self.groups.cpu(), [own for (own,) in packed])]
