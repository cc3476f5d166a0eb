"""Tables whose rows are divided among processes in training.

Row ``i`` lies in process ``i mod P`` as its row ``i div P``: ids are ordered by falling frequency within a field, so
the rows that are read most are spread evenly. A lookup requests rows from each process and receives their vectors; in
the backward pass the gradients are sent to the same processes, and each process updates its own rows, with its own part
of the optimizer's state. So all processes must look up together, the same tables in the same order.

A parameter stays the same object while it is divided, and then has the shape ``[its rows, width]``. Before and after
training, each process has the complete table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.errors import InputError
from sharkbench.tables.row_store import StoredRows, lookup_rows

Gather = Callable[[Tensor], list[Tensor]]
"""The tensor ``[n, ...]`` of this process to the tensors of all processes, in order."""


@runtime_checkable
class DivisibleStore(Protocol):
    """A row store that can keep only some of its rows."""

    def divide(self, rank: int, size: int) -> None:
        """Keep the rows ``rank, rank + size, ...`` as rows 0, 1, ..."""

    def unite(self, gather: Gather) -> None:
        """Gather all rows from all processes."""


@dataclass(frozen=True)
class Shard:
    """Which rows of a table of ``rows`` rows this process has."""

    rank: int
    size: int
    rows: int

    @property
    def count(self) -> int:
        """Number of rows in this process."""
        return len(range(self.rank, self.rows, self.size))


def shard_of(table: Tensor) -> Shard | None:
    """The shard of a divided table; ``None`` for a table that is not divided."""
    shard: Shard | None = getattr(table, "shard", None)
    return shard


def lookup(table: nn.Parameter, rows: Tensor, *, sparse: bool, padding_idx: int | None = None) -> Tensor:
    """:func:`torch.nn.functional.embedding` for a table that may be divided."""
    shard = shard_of(table)
    if shard is None:
        return F.embedding(rows, table, padding_idx=padding_idx, sparse=sparse)
    is_here = padding_idx is not None and padding_idx % shard.size == shard.rank
    padding = padding_idx // shard.size if padding_idx is not None and is_here else None

    def own(here: Tensor) -> Tensor:
        return F.embedding(here, table, padding_idx=padding, sparse=sparse)

    wanted, places = torch.unique(rows, return_inverse=True)
    return F.embedding(places, _fetch(shard, wanted.long(), own))


def stored_rows(table: StoredRows, rows: Tensor) -> Tensor:
    """:func:`~sharkbench.tables.row_store.lookup_rows` for a table that may be divided."""
    shard = shard_of(table)
    if shard is None:
        return lookup_rows(table, rows)

    def own(here: Tensor) -> Tensor:
        # Several processes may request a row; their gradients are summed into one.
        distinct, places = torch.unique(here, return_inverse=True)
        return F.embedding(places, lookup_rows(table, distinct))

    return _fetch(shard, rows, own)


def _fetch(shard: Shard, rows: Tensor, own: Callable[[Tensor], Tensor]) -> Tensor:
    """``[n, width]`` of ``rows`` ``[n]``, each from the process that has it; ``own`` looks up this process's rows."""
    owner = rows % shard.size
    order = torch.argsort(owner, stable=True)
    wanted = torch.bincount(owner, minlength=shard.size)
    asked = torch.empty_like(wanted)
    dist.all_to_all_single(asked, wanted)
    to_ask, to_answer = wanted.tolist(), asked.tolist()
    here = _exchange(torch.div(rows[order], shard.size, rounding_mode="floor"), to_ask, to_answer)
    answers: Tensor = _Exchange.apply(own(here), to_answer, to_ask)
    return answers.index_select(0, torch.argsort(order))


def _exchange(tensor: Tensor, sent: list[int], received: list[int]) -> Tensor:
    out = tensor.new_empty(sum(received), *tensor.shape[1:])
    dist.all_to_all_single(out, tensor.contiguous(), received, sent)
    return out


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sent: list[int], received: list[int]) -> Tensor:
        ctx.ways = (received, sent)
        return _exchange(tensor, sent, received)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _exchange(gradients[0], *ctx.ways), None, None


# Dividing and uniting ----------------------------------------------------------------------------------------------


@contextmanager
def divided(tables: Iterable[nn.Parameter], rank: int, size: int, gather: Gather) -> Iterator[None]:
    """Within it this process holds only its rows of ``tables``; afterwards all rows again, with their new values.

    Raises:
        InputError: a table is stored in a form that cannot be divided.
    """
    tables = list(tables)
    for table in tables:
        shard = Shard(rank, size, len(table))
        if isinstance(table, StoredRows):
            divisible(table.store).divide(rank, size)
            table.data = table.data[:1].expand(shard.count, -1)
        else:
            table.data = table.data[rank::size].clone()
        table.shard = shard  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for table in tables:
            del table.shard  # type: ignore[attr-defined]
    for table in tables:
        if isinstance(table, StoredRows):
            divisible(table.store).unite(gather)
            table.data = table.data[:1].expand(len(table.store), -1)  # type: ignore[arg-type]
        else:
            table.data = interleave(gather(table.data))


def divisible(store: object) -> DivisibleStore:
    """``store``, checked to have rows that can be divided.

    Raises:
        InputError: they cannot.
    """
    if not isinstance(store, DivisibleStore):
        raise InputError(
            f"train.shard_tables: rows kept as {type(store).__name__} cannot be divided among processes; "
            "leave it out, or let the method keep its rows in another way"
        )
    return store


def interleave(parts: list[Tensor]) -> Tensor:
    """The rows of all processes in their order before the division."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole
