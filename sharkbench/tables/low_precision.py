"""A table without float rows: a store of codes, read and written a batch's rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.row_store import StoredRows
from sharkbench.tables.sharded import stored_rows


class PackedStore(Protocol):
    """Rows in the form in which they are served; a module, so that its tensors are the layer's."""

    width: int

    def __len__(self) -> int: ...

    def read(self, rows: Tensor) -> Tensor: ...

    def write(self, rows: Tensor, values: Tensor) -> None: ...

    def packed(self, schema: Schema, fields: tuple[int, ...]) -> Format: ...


class LowPrecisionTable(EmbeddingLayer):
    """``e_i = decode(store[i])``, one row per id, all fields in one merged table.

    The batch's rows are decoded once each; their gradient is sparse whatever the optimizer, which changes them in
    float32 and hands them back to be coded (:mod:`sharkbench.tables.row_store`). What evaluation reads is what is
    packed, to the bit.

    Attributes:
        rows: what the optimizer gets; it has no memory and is no part of ``state_dict``.
    """

    rows: StoredRows

    def __init__(self, schema: Schema, store: PackedStore) -> None:
        super().__init__(schema, store.width)
        self.store = store
        self.__dict__["rows"] = StoredRows(store, len(store), store.width)

    def lookup(self, ids: Tensor) -> Tensor:
        rows, places = torch.unique(ids, return_inverse=True)
        return F.embedding(places, stored_rows(self.rows, rows.long()))

    def row_tables(self) -> list[nn.Parameter]:
        return [self.rows]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.rows]}]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = super()._apply(fn, recurse)
        self.rows.follow(self.slot_starts.device)
        return moved

    def pack(self) -> PackedLayer:
        return PackedLayer(self.schema, self.width, [self.store.packed(self.schema, self.fields)])
