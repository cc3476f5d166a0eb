"""Tables whose rows are not stored in a float tensor, but in packed integers, say.

To autograd and the optimizer such a table is a parameter like any other, of the table's shape but without its memory.
Its gradient is sparse, with the rows of the batch; :func:`read_rows` reads the values of some rows and
:func:`write_rows` writes them back. No float copy of the table exists.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn


class RowStore(Protocol):
    """Holds the rows of a table in a form of its own."""

    def read(self, rows: Tensor) -> Tensor:
        """``[n]`` int64 rows to ``[n, width]`` float32, a copy that the caller may change."""
        ...

    def write(self, rows: Tensor, values: Tensor) -> None:
        """Store ``[n, width]`` float32 as ``rows`` ``[n]``, each row at most once, rounded to the form of the store."""
        ...


class StoredRows(nn.Parameter):
    """The parameter of a table ``[rows, width]`` that ``store`` holds: its shape, its gradient, its store.

    Its own values are zeros that share one memory location; copying it as a tensor would create a dense table of them,
    so it must not be registered with a module (``state_dict``, ``to``): do not set it by ``__setattr__``.
    """

    store: RowStore

    def __new__(cls, store: RowStore, rows: int, width: int) -> Self:
        made = torch.Tensor._make_subclass(cls, torch.zeros(1, 1).expand(rows, width), True)
        made.store = store
        return made

    def __init__(self, store: RowStore, rows: int, width: int) -> None:
        pass

    def follow(self, device: torch.device) -> None:
        """Move to the device where the store now is."""
        if self.device != device:
            self.data = torch.zeros(1, 1, device=device).expand(self.shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredRows:
        copied = StoredRows(deepcopy(self.store, memo), *self.shape)
        copied.follow(self.device)
        memo[id(self)] = copied
        return copied


def read_rows(table: nn.Parameter, rows: Tensor) -> Tensor:
    """``[n]`` int64 rows of a table to ``[n, width]`` float32, a copy without gradient."""
    if isinstance(table, StoredRows):
        return table.store.read(rows)
    return table.detach().flatten(1).index_select(0, rows)


def write_rows(table: nn.Parameter, rows: Tensor, values: Tensor) -> None:
    """Write ``values`` ``[n, width]`` to the ``rows`` ``[n]`` of a table; each row at most once."""
    if isinstance(table, StoredRows):
        table.store.write(rows, values)
    else:
        table.detach().flatten(1).index_copy_(0, rows, values)


def lookup_rows(table: StoredRows, rows: Tensor) -> Tensor:
    """:func:`read_rows` for the forward pass: ``rows`` are distinct and ascending, and become the gradient's rows."""
    return _Lookup.apply(table, rows, table.store)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, store: RowStore) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return store.read(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        summed = torch.sparse_coo_tensor(rows[None], gradients[0], ctx.shape, is_coalesced=True, check_invariants=False)
        return summed, None, None
