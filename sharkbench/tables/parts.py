"""Tables composed of parts: groups of fields, and of columns, each with its own lookup and packed format.

This module holds what all parts need: which columns of a batch go to which part, row numbers within the part, padding,
pooling, subsets of fields, and the order of the results.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sharkbench.data.schema import PADDING, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.tables.base import EmbeddingLayer, Trainable

CHUNK = 1 << 16
"""Rows read at a time where all rows of a field are read."""


class Layout(nn.Module):
    """Which columns of a table's slots a part has, and the map from their ids to its rows.

    Args:
        schema: of the data set.
        fields: of the part, ascending.
        owners: ``[C]``, the field of each of the part's columns.
        columns: ``[C]``, their positions among the table's slots; all of them, in order, unless given.
    """

    def __init__(
        self, schema: Schema, fields: Sequence[int], owners: NDArray[np.int64], columns: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__()
        place = np.searchsorted(fields, owners)
        self.places: list[int] = place.tolist()
        starts = schema.offsets[:-1][owners]
        firsts = starts - np.cumsum([0, *(schema.fields[f].cardinality for f in fields)])[place]
        # Where the part begins at the first id, ids are row numbers.
        for name, values in {
            "columns": columns,
            "starts": starts,
            "firsts": firsts if firsts.any() else None,
            "owner": place,
        }.items():
            made = None if values is None else torch.from_numpy(np.ascontiguousarray(values)).long()
            self.register_buffer(name, made, persistent=False)
        self.columns: Tensor | None
        self.starts: Tensor
        self.firsts: Tensor | None
        self.owner: Tensor

    def slots(self, ids: Tensor, present: Tensor | None) -> Slots:
        """The part's slots of a table's ids ``[B, S']``."""
        if self.columns is None:
            return Slots(ids, self, present)
        own = None if present is None else present.index_select(1, self.columns)
        return Slots(ids.index_select(1, self.columns), self, own)


class Slots:
    """The lookups of a batch in a part: ``C`` columns of ids, one per slot of the part's fields.

    Attributes:
        ids: ``[B, C]`` ids in the schema's global id space, none of them padding: an empty slot reads its field's first
            row.
        present: ``[B, C]`` bool, which slots are not empty; ``None`` where no field has several values.
    """

    def __init__(self, ids: Tensor, layout: Layout, present: Tensor | None) -> None:
        self.ids, self.present = ids, present
        self._layout: Layout = layout

    @property
    def owner(self) -> Tensor:
        """``[C]`` int64, which of the part's fields each column belongs to."""
        return self._layout.owner

    @property
    def places(self) -> list[int]:
        """:attr:`owner` as a list."""
        return self._layout.places

    @property
    def local(self) -> Tensor:
        """``[B, C]`` int64 local ids, counted from the first of their field."""
        return self.ids - self._layout.starts

    @property
    def rows(self) -> Tensor:
        """``[B, C]`` int64 row numbers within the part, whose fields lie one after the other."""
        firsts = self._layout.firsts
        return self.ids.long() if firsts is None else self.ids - firsts


class Part(Trainable):
    """Rows of some fields: how they are looked up in training, and how they are packed.

    A subclass implements :meth:`forward` and :meth:`pack`, and may use the hooks.

    Args:
        schema: of the data set.
        fields: of this part; their rows are counted from the first row of the first of them.
        width: weights per row.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], width: int) -> None:
        super().__init__()
        self.schema, self.width = schema, width
        self.fields = tuple(sorted(int(f) for f in fields))
        self.sizes = [schema.fields[f].cardinality for f in self.fields]

    @property
    def num_rows(self) -> int:
        return sum(self.sizes)

    @abstractmethod
    def forward(self, slots: Slots) -> Tensor:
        """The rows of ``slots``: ``[B, C, width]`` float32."""

    @abstractmethod
    def pack(self) -> list[Format]:
        """The packed formats that serve the part's fields."""

    def keep(self, fields: Sequence[int]) -> Part | None:
        """The part restricted to some of its fields (ascending); ``None`` where several fields share weights."""
        return None

    @torch.no_grad()
    def read(self, field: int) -> Tensor:
        """``[n, width]`` float32: all rows of a field, as a lookup returns them."""
        first, size = int(self.schema.offsets[field]), self.schema.fields[field].cardinality
        device = next((t.device for t in [*self.parameters(), *self.buffers()]), torch.device("cpu"))
        layout = Layout(self.schema, self.fields, np.array([field])).to(device)
        ids = torch.arange(first, first + size, device=device)
        return torch.cat([self(layout.slots(some[:, None], None))[:, 0] for some in ids.split(CHUNK)])


class Composite(Trainable):
    """Several parts as one: their parameter groups, hooks and extra losses together."""

    parts: nn.ModuleList

    @property
    def members(self) -> list[Part]:
        """The parts, typed."""
        return list(self.parts)  # type: ignore[arg-type]

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = [group for part in self.members for group in part.parameter_groups()]
        plain = [group for group in groups if group.keys() == {"params"}]
        together = {"params": [parameter for group in plain for parameter in group["params"]]}
        return [together, *(group for group in groups if group.keys() != {"params"})]

    def row_tables(self) -> list[nn.Parameter]:
        return [table for part in self.members for table in part.row_tables()]

    def may_stay(self) -> bool:
        return all(part.may_stay() for part in self.members)

    def after_step(self) -> None:
        for part in self.members:
            part.after_step()

    def extra_loss(self) -> Tensor | None:
        terms = [term for part in self.members if (term := part.extra_loss()) is not None]
        return sum(terms[1:], terms[0]) if terms else None


class Table(Composite, EmbeddingLayer):
    """Parts side by side, each with fields of its own: ids ``[B, S]`` to ``[B, F, width]``.

    Args:
        schema: of the data set.
        width: weights per row.
        parts: in the order in which they are packed; those without fields are left out.
    """

    def __init__(self, schema: Schema, width: int, parts: Sequence[Part]) -> None:
        kept = [part for part in parts if part.fields]
        super().__init__(schema, width, [f for part in kept for f in part.fields])
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"two parts have the same field: {[part.fields for part in kept]}")
        if wrong := [part.width for part in kept if part.width != width]:
            raise ValueError(f"a part gives rows of {wrong[0]} weights, the table has {width}")
        self.parts = nn.ModuleList(kept)
        columns = schema.slot_columns(self.fields)
        owners = schema.slot_fields[columns]
        self._takes_all = len(columns) == schema.num_slots
        self._multivalued = any(schema.fields[f].slots > 1 for f in self.fields)
        self.register_buffer("columns", torch.from_numpy(columns), persistent=False)
        self.register_buffer("starts", torch.from_numpy(schema.offsets[:-1][owners]), persistent=False)
        self.columns: Tensor
        self.starts: Tensor
        part_of = {f: p for p, part in enumerate(kept) for f in part.fields}
        parts_of_columns = np.array([part_of[f] for f in owners.tolist()])
        self.layouts = nn.ModuleList()
        for p, part in enumerate(kept):
            mine = np.flatnonzero(parts_of_columns == p)
            self.layouts.append(Layout(schema, part.fields, owners[mine], mine if len(kept) > 1 else None))
        self._runs = [(p, len(list(run))) for p, run in groupby(parts_of_columns.tolist())]

    def slots(self, ids: Tensor) -> list[Slots]:
        """The lookups of a batch ``[B, S]`` of ids in each part."""
        kept = self._kept(ids)
        present = kept != PADDING if self._multivalued else None
        return self._divided(kept if present is None else self._filled(kept, present), present)

    def _kept(self, ids: Tensor) -> Tensor:
        return ids if self._takes_all else ids.index_select(1, self.columns)

    def _filled(self, kept: Tensor, present: Tensor) -> Tensor:
        return torch.where(present, kept, self.starts.to(kept))

    def _divided(self, ids: Tensor, present: Tensor | None) -> list[Slots]:
        return [layout.slots(ids, present) for layout in self.layouts]  # type: ignore[operator]

    def lookup(self, ids: Tensor, present: Tensor | None = None) -> Tensor:
        """``[B, S']`` ids of the slots of the table's fields, none of them padding, to ``[B, S', width]``."""
        found = [part(slots) for part, slots in zip(self.parts, self._divided(ids, present), strict=True)]
        if len(found) == 1:
            return found[0]
        # Runs of neighbouring columns by split and cat: their backward pass is a copy, that of an index is not.
        turns = [iter(vectors.split([n for q, n in self._runs if q == p], 1)) for p, vectors in enumerate(found)]
        return torch.cat([next(turns[p]) for p, _ in self._runs], 1)

    def forward(self, ids: Tensor) -> Tensor:
        kept = self._kept(ids)
        if not self._multivalued:
            return self.lookup(kept)
        present = kept != PADDING
        return pool_slots(self.lookup(self._filled(kept, present), present), kept, self.schema, self.fields)

    def pack(self) -> PackedLayer:
        return PackedLayer(self.schema, self.width, [packed for part in self.members for packed in part.pack()])


class Beside(Composite, Part):
    """Parts over the same fields that share a row's columns, ``e_i = a_i ++ b_i ++ ...``: rows ``[B, C]`` to vectors
    ``[B, C, width]``."""

    def __init__(self, parts: Sequence[Part]) -> None:
        first = parts[0]
        if any(part.fields != first.fields for part in parts):
            raise ValueError("parts beside one another have different fields")
        super().__init__(first.schema, first.fields, sum(part.width for part in parts))
        self.parts = nn.ModuleList(parts)

    def forward(self, slots: Slots) -> Tensor:
        return torch.cat([part(slots) for part in self.parts], -1)

    def pack(self) -> list[Format]:
        packed = [part.pack() for part in self.members]
        return [SideBySide.pack([own for (own,) in packed])]
