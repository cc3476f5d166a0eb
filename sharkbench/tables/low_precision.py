"""A table without float rows: a store of codes, read and written a batch's rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.row_store import StoredRows
from sharkbench.tables.sharded import stored_rows


class PackedStore(Protocol):
    """Rows stored in their serving form; a module, so that its tensors are the layer's."""

    width: int

    def __len__(self) -> int: ...

    def read(self, rows: Tensor) -> Tensor: ...

    def write(self, rows: Tensor, values: Tensor) -> None: ...

    def packed(self, schema: Schema, fields: tuple[int, ...]) -> Format: ...


class LowPrecisionRows(Part):
    """``e_i = decode(store[i])``, one row per id: rows ``[B, C]`` to vectors ``[B, C, width]``.

    Each distinct row of the batch is decoded once; its gradient is sparse with any optimizer. The optimizer updates
    these rows in float32 and writes them back to be coded (:mod:`sharkbench.tables.row_store`). Evaluation reads
    exactly the packed rows, bit by bit.

    Args:
        schema, fields: as for :class:`Part`.
        store: has as many rows as the fields.

    Attributes:
        rows: the parameter of the optimizer; it has no memory and is not in ``state_dict``.
    """

    rows: StoredRows

    def __init__(self, schema: Schema, fields: Sequence[int], store: PackedStore) -> None:
        super().__init__(schema, fields, store.width)
        self.store = store
        self.register_buffer("here", torch.empty(0), persistent=False)
        self.here: Tensor
        self.__dict__["rows"] = StoredRows(store, len(store), store.width)

    def forward(self, slots: Slots) -> Tensor:
        rows, places = torch.unique(slots.rows, return_inverse=True)
        return F.embedding(places, stored_rows(self.rows, rows.long()))

    def row_tables(self) -> list[nn.Parameter]:
        return [self.rows]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.rows]}]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = super()._apply(fn, recurse)
        self.rows.follow(self.here.device)
        return moved

    def pack(self) -> list[Format]:
        return [self.store.packed(self.schema, self.fields)]
