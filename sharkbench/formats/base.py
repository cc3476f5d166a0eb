"""What every packed format promises."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats import trust
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.kernels import Columns, Program
from sharkbench.formats.stored import Stored

SHARED = "(shared)"
"""Stands in ``nbytes_by_field`` for what several fields share."""


class Example(NamedTuple):
    """A table to check a format by."""

    packed: Format
    nbytes: int
    """What :meth:`Format.bytes_of` says of it."""
    rows: Tensor | None = None
    """``[R, width]`` the rows of its fields as they should come out, one field after the other; ``None`` where
    :meth:`Format.lookup` is the only way to tell."""


class Format(Stored):
    """The packed rows of a group of fields.

    All that has to be kept in memory to serve is a registered buffer, so ``nbytes`` is a sum and not a formula. What
    users do to buffers is answered here, for every format (:class:`Stored`): casts leave them as they are, and whatever
    else replaces or changes them is checked by :meth:`restore` before it is served.
    ``columns`` of the id matrix given to :meth:`lookup` are the slots of ``fields``, in the order of ``fields``;
    ids are global (the schema's id space), ids of unknown range never get here (:class:`PackedLayer` checks them).

    Args:
        schema: of the whole model.
        fields: the fields served, as indices into ``schema.fields``.
        width: numbers per row.
    """

    kind: ClassVar[str]
    """The format's name in artifacts and tables."""

    def __init__(self, schema: Schema, fields: Sequence[int], width: int) -> None:
        super().__init__()
        self.schema, self.fields, self.width = schema, tuple(int(f) for f in fields), int(width)
        slots = schema.slot_columns(self.fields)
        self.column_fields = np.repeat(np.arange(len(self.fields)), [schema.fields[f].slots for f in self.fields])
        """``[C]``: position in ``fields`` of the field that each column belongs to."""
        # Where each column's field begins in the id space: the id structure, which fp32 needs as well; not counted.
        starts = torch.from_numpy(schema.offsets[:-1][schema.slot_fields[slots]])
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor

    def exchange(self, given: Mapping[str, Any], assign: bool) -> None:
        """Take tensors by the names of the state dict, if :meth:`restore` takes them with those that stay.

        Raises:
            ArtifactError: it does not; nothing has changed then.
        """
        trust.exchange(self, given, assign)

    @property
    def cardinalities(self) -> np.ndarray:
        """``[len(fields)]`` int64 rows of each field before compression."""
        return np.array([self.schema.fields[f].cardinality for f in self.fields], dtype=np.int64)

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, C]`` int32 or int64 global ids (none is padding) to ``[B, C, width]`` float32.

        In plain torch, on any device: what the format means. Kernels give the same bits, faster.
        """

    def programs(self, columns: Columns) -> list[Program] | None:
        """The same lookup for the compiled kernels; ``None`` where there is no kernel for it."""
        return None

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch] | None:
        """The same lookup on a GPU: of columns ``places`` of ``ids`` into the same columns of ``out``; ``None`` where
        there is no kernel for it.

        Args:
            ids: ``[B, S]``, of which ``places`` ``[C]`` are the columns that :meth:`lookup` takes.
            out: ``[B, S, width]``.
        """
        return None

    def program(
        self, kernel: int, columns: Columns, own: Sequence[int | Tensor], keep: Sequence[Tensor] = ()
    ) -> Program:
        """A program over the fields of this format; ``base`` of a column is its field's first row in row order."""
        fields = [self.schema.fields[f] for f in self.fields]
        per_field = [
            self.schema.offsets[:-1][list(self.fields)],
            self.cardinalities,
            np.array([f.slots > 1 for f in fields]),
            np.arange(len(fields)),
            self.first_rows,
        ]
        return Program.of(kernel, self.width, columns, [row[self.column_fields] for row in per_field], own, keep)

    @property
    def first_rows(self) -> np.ndarray:
        """``[len(fields)]`` int64: each field's first row where the rows of ``fields`` lie one after the other."""
        return np.concatenate([[0], np.cumsum(self.cardinalities)[:-1]])

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is kept to serve: exactly the tensor bytes of the saved artifact."""
        return sum(t.nbytes for t in self.state_dict().values())

    @classmethod
    @abstractmethod
    def bytes_of(cls, *sizes: Any, **named: Any) -> int:
        """:attr:`nbytes` of a table of these sizes, in closed form: what a method asks before there is a table.

        Every format has arguments of its own: whatever decides its size, and nothing else.
        """

    @abstractmethod
    def nbytes_by_field(self) -> dict[str, int]:
        """Bytes per field name; what fields share stands under ``"(shared)"``. The values add up to ``nbytes``."""

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Numbers that are kept, whatever their precision: what papers count as parameters."""

    @abstractmethod
    def replicate(self, times: int) -> Self:
        """The same format with ``times`` as many rows per field, to time it at a production size.

        What grows with the number of rows is repeated, what does not is kept. It serves :func:`replicated`'s schema.
        """

    def describe(self) -> dict[str, Any]:
        """Settings (plain JSON values) that, with the tensors, suffice for :meth:`restore`."""
        return {}

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        """Small tables of random numbers over ``fields``: what ``sharkbench check format`` looks at. None where rows
        cannot be so wide."""
        return iter(())

    @classmethod
    @abstractmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        """Rebuild from an artifact. Believes nothing: shapes, ranges and finiteness are checked.

        Raises:
            ArtifactError: the tensors are not what the settings say.
        """


def num_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Rows of these fields together."""
    return sum(schema.fields[f].cardinality for f in fields)


def replicated(schema: Schema, times: int) -> Schema:
    """``schema`` with ``times`` as many rows in every field."""
    fields = tuple(replace(f, cardinality=f.cardinality * times) for f in schema.fields)
    return replace(schema, fields=fields, frequencies=None)


@contextlib.contextmanager
def neutral(device: torch.device) -> Iterator[None]:
    """Plain torch as formats mean it: whatever autocast or a default device says."""
    with contextlib.ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if torch._C._len_torch_function_stack():
            stack.enter_context(torch.device(device))
        yield
