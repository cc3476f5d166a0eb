"""The contract of every packed format."""

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
"""Key in ``nbytes_by_field`` of the bytes that several fields share."""


class Example(NamedTuple):
    """A table to check a format by."""

    packed: Format
    nbytes: int
    """The result of :meth:`Format.bytes_of` for it."""
    rows: Tensor | None = None
    """``[R, width]`` the expected rows of its fields, one field after the other; ``None`` where only
    :meth:`Format.lookup` can compute them."""


class Format(Stored):
    """The packed rows of a group of fields.

    Everything that serving needs in memory is a registered buffer, so ``nbytes`` is a sum and not a formula. This class
    handles what users do to buffers, for every format (:class:`Stored`): casts do not change them, and tensors that are
    replaced or changed in any other way are checked by :meth:`restore` before they are served.
    ``columns`` of the id matrix given to :meth:`lookup` are the slots of ``fields``, in the order of ``fields``;
    ids are global (the schema's id space) and in range (:class:`PackedLayer` checks them).

    Args:
        schema: of the whole model.
        fields: the fields served, as indices into ``schema.fields``.
        width: values per row.
    """

    kind: ClassVar[str]
    """The format's name in artifacts and tables."""

    def __init__(self, schema: Schema, fields: Sequence[int], width: int) -> None:
        super().__init__()
        self.schema, self.fields, self.width = schema, tuple(int(f) for f in fields), int(width)
        slots = schema.slot_columns(self.fields)
        self.column_fields = np.repeat(np.arange(len(self.fields)), [schema.fields[f].slots for f in self.fields])
        """``[C]``: position in ``fields`` of the field that each column belongs to."""
        # First id of each column's field: part of the id space, which fp32 needs as well; not counted.
        starts = torch.from_numpy(schema.offsets[:-1][schema.slot_fields[slots]])
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor

    def exchange(self, given: Mapping[str, Any], assign: bool) -> None:
        """Replace tensors by the names of the state dict, if :meth:`restore` accepts them with the other tensors.

        Raises:
            ArtifactError: it does not accept them; nothing has changed then.
        """
        trust.exchange(self, given, assign)

    @property
    def cardinalities(self) -> np.ndarray:
        """``[len(fields)]`` int64 rows of each field before compression."""
        return np.array([self.schema.fields[f].cardinality for f in self.fields], dtype=np.int64)

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, C]`` int32 or int64 global ids (none is padding) to ``[B, C, width]`` float32.

        In plain torch, on any device: the definition of the format. Kernels return the same bits, faster.
        """

    def programs(self, columns: Columns) -> list[Program] | None:
        """Programs of the same lookup for the compiled kernels; ``None`` where there is no kernel for it."""
        return None

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch] | None:
        """Launches of the same lookup on a GPU, from columns ``places`` of ``ids`` to the same columns of ``out``;
        ``None`` where there is no kernel for it.

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
        """``[len(fields)]`` int64: first row of each field in the concatenated rows of ``fields``."""
        return np.concatenate([[0], np.cumsum(self.cardinalities)[:-1]])

    @property
    def nbytes(self) -> int:
        """Bytes of everything that serving needs: exactly the tensor bytes of the saved artifact."""
        return sum(t.nbytes for t in self.state_dict().values())

    @classmethod
    @abstractmethod
    def bytes_of(cls, *sizes: Any, **named: Any) -> int:
        """:attr:`nbytes` of a table of these sizes, in closed form; methods call it before there is a table.

        Every format has its own arguments: everything that decides its size, and nothing else.
        """

    @abstractmethod
    def nbytes_by_field(self) -> dict[str, int]:
        """Bytes per field name; shared bytes are under ``"(shared)"``. The values add up to ``nbytes``."""

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Stored values, of any precision: what papers count as parameters."""

    @abstractmethod
    def replicate(self, times: int) -> Self:
        """The same format with ``times`` as many rows per field, to time it at a production size.

        Tensors that grow with the number of rows are repeated, others are kept. It serves :func:`replicated`'s schema.
        """

    def describe(self) -> dict[str, Any]:
        """Settings (plain JSON values) that, with the tensors, suffice for :meth:`restore`."""
        return {}

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        """Small random tables over ``fields``, which ``sharkbench check format`` checks; no table where rows cannot
        have this width."""
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
        """Rebuild from an artifact, which is not trusted: shapes, ranges and finiteness are checked.

        Raises:
            ArtifactError: the tensors do not match the settings.
        """


def num_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Number of rows of these fields together."""
    return sum(schema.fields[f].cardinality for f in fields)


def replicated(schema: Schema, times: int) -> Schema:
    """``schema`` with ``times`` as many rows in every field."""
    fields = tuple(replace(f, cardinality=f.cardinality * times) for f in schema.fields)
    return replace(schema, fields=fields, frequencies=None)


@contextlib.contextmanager
def neutral(device: torch.device) -> Iterator[None]:
    """Within it torch computes as formats define it, without autocast or another default device."""
    with contextlib.ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if torch._C._len_torch_function_stack():
            stack.enter_context(torch.device(device))
        yield
