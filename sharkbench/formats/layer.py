"""The packed layer: the formats of all fields together, and the one lookup that everything measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import InputError
from sharkbench.formats import gpu, kernels
from sharkbench.formats.base import Format, replicated

ID_BYTES = {torch.int32: 4, torch.int64: 8}
Unknown = Literal["raise", "unseen"]
LARGE = 1 << 22
"""Bytes from which a tensor is moved into huge pages: about what a processor can translate in pages of 4 KiB."""


def pool_slots(vectors: Tensor, ids: Tensor, schema: Schema, fields: Sequence[int]) -> Tensor:
    """``[B, S, W]`` slot vectors to ``[B, F, W]`` field vectors; empty slots (:data:`PADDING`) count for nothing.

    Args:
        vectors: one vector per slot of ``fields``, what stands in an empty slot does not matter.
        ids: ``[B, S]``, the ids that the vectors were looked up with.
        fields: the fields that the slots belong to, in order.
    """
    if all(schema.fields[f].slots == 1 for f in fields):
        return vectors
    # Neighbouring single-valued fields pass as one block: the backward of each slice of its own fills a tensor of the
    # full size.
    blocks: list[tuple[int, Field | None]] = []
    for single, run in groupby((schema.fields[f] for f in fields), key=lambda field: field.slots == 1):
        neighbours = list(run)
        blocks += [(len(neighbours), None)] if single else [(field.slots, field) for field in neighbours]
    sizes = [size for size, _ in blocks]
    pooled = []
    for part, own, (_, several) in zip(vectors.split(sizes, 1), ids.split(sizes, 1), blocks, strict=True):
        if several is None:
            pooled.append(part)
            continue
        mask = own != PADDING
        # where(), not a product: whatever an empty slot holds, even a NaN, stays out.
        total = torch.where(mask.unsqueeze(-1), part, part.new_zeros(())).sum(1, keepdim=True)
        if several.pooling == "mean":
            total = total / mask.sum(1, keepdim=True).clamp(min=1).unsqueeze(-1)
        pooled.append(total)
    return torch.cat(pooled, dim=1)


@dataclass(frozen=True)
class _Plan:
    """The compiled lookup of a layer: addresses, and the tensors that they are in, which must not move meanwhile."""

    compiled: ModuleType
    words: tuple[bytes, ...]
    held: tuple[Tensor, ...]
    slots: int
    kept: int
    width: int
    forgiving: bool
    rest: list[tuple[Format, Tensor]]
    """Parts without a kernel, with their places among the kept slots."""
    direct: Callable[[Tensor, int], Tensor | None] | None
    """All of a lookup in one call, from ids and threads; ``None`` where it takes :meth:`serve`, or a bad id was met."""

    def serve(self, ids: Tensor, threads: int) -> Tensor | None:
        """``[B, kept, width]``, what :attr:`rest` serves being unset; ``None`` if an id was outside its field."""
        ids = ids.contiguous()
        out = torch.empty(len(ids), self.kept, self.width, dtype=torch.float32)
        places = (ids.data_ptr(), ids.itemsize, self.slots, len(ids), out.data_ptr(), self.kept * self.width)
        outside = self.compiled.lookup(self.words, *places, threads)
        return None if outside and not self.forgiving else out

    @classmethod
    def of(cls, layer: PackedLayer, compiled: ModuleType) -> _Plan:
        programs: list[kernels.Program] = []
        rest: list[tuple[Format, Tensor]] = []
        kept = layer._kept.numpy()
        for i, part in enumerate(layer.formats):
            places: Tensor = getattr(layer, f"_places{i}")
            columns = kernels.Columns(kept[places.numpy()], places.numpy() * layer.width)
            mine = part.programs(columns)
            if mine is None:
                rest.append((part, places))
            else:
                programs += mine
        held = tuple(tensor for program in programs for tensor in program.tensors)
        words, forgiving = tuple(p.words for p in programs), layer.unknown == "unseen"
        for tensor in held:
            if tensor.nbytes >= LARGE:
                compiled.use_huge_pages(tensor.data_ptr(), tensor.nbytes)
        sizes = (layer.schema.num_slots, len(kept), layer.width, forgiving)
        direct = None if rest else partial(compiled.serve, words, *sizes)
        return cls(compiled, words, held, *sizes, rest, direct)


class PackedLayer(nn.Module):
    """Formats side by side: ids ``[B, S]`` to field vectors ``[B, F, width]`` float32, ``F`` counting kept fields only.

    A field that no format serves has been pruned: it costs nothing and is not looked up. Kept fields come out in the
    schema's order.

    Args:
        unknown: what an id outside its field's rows does: ``"raise"`` an InputError, or read the row of ``"unseen"``
            values (the field's first). Other memory is never read.
    """

    def __init__(self, schema: Schema, width: int, parts: Sequence[Format], unknown: Unknown = "raise") -> None:
        super().__init__()
        self.schema, self.width, self.unknown = schema, width, unknown
        self.parts = nn.ModuleList(parts)
        self._plan: _Plan | None = None
        served = [f for part in parts for f in part.fields]
        if len(set(served)) != len(served):
            raise ValueError("a field is served by two formats")
        self.fields: tuple[int, ...] = tuple(sorted(served))
        kept = schema.slot_columns(self.fields) if self.fields else np.zeros(0, dtype=np.int64)
        position = {int(slot): i for i, slot in enumerate(kept)}
        self._takes_all = len(kept) == schema.num_slots
        owner = schema.slot_fields[kept]
        self._multivalued = any(schema.fields[f].slots > 1 for f in self.fields)
        self._kept: Tensor
        self._first: Tensor
        self._end: Tensor
        self._may_be_empty: Tensor
        self._buffer("_kept", kept)
        self._buffer("_first", schema.offsets[:-1][owner])
        self._buffer("_end", schema.offsets[1:][owner])
        self._buffer("_may_be_empty", np.array([schema.fields[f].slots > 1 for f in owner], dtype=bool))
        for i, part in enumerate(parts):
            self._buffer(f"_places{i}", np.array([position[int(s)] for s in schema.slot_columns(part.fields)]))

    def _buffer(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._plan = None  # the tensors move
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plan": None}  # a copy has tensors of its own

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.formats)

    @property
    def num_parameters(self) -> int:
        """Numbers that are kept, whatever their precision."""
        return sum(part.num_parameters for part in self.formats)

    @property
    def formats(self) -> list[Format]:
        return list(self.parts)  # type: ignore[arg-type]

    def nbytes_by_field(self) -> dict[str, int]:
        """Bytes per field name over all formats, ``"(shared)"`` for what several fields share."""
        total: dict[str, int] = {}
        for part in self.formats:
            for name, nbytes in part.nbytes_by_field().items():
                total[name] = total.get(name, 0) + nbytes
        return total

    def replicate(self, times: int) -> PackedLayer:
        """The same layer with ``times`` as many rows in every field."""
        parts = [part.replicate(times) for part in self.formats]
        return PackedLayer(replicated(self.schema, times), self.width, parts, self.unknown)

    def __call__(self, ids: Tensor) -> Tensor:
        """:meth:`forward`, without the rounds that a module's call makes for hooks where this layer has none: they take
        longer than a small lookup."""
        if self._multivalued or self._forward_hooks or self._forward_pre_hooks or self._backward_hooks:
            return super().__call__(ids)
        return self.lookup(ids)

    def lookup(self, ids: Tensor) -> Tensor:
        """``[B, S]`` ids to one vector per kept slot, ``[B, S', width]``, before pooling.

        Raises:
            InputError: the shape is not that of the schema, or ``unknown`` is ``"raise"`` and an id is out of range.
        """
        plan = self._plan
        if plan is not None and plan.direct is not None:
            out = plan.direct(ids, torch.get_num_threads())
            if out is not None:
                return out
        return self._any(ids)

    def _any(self, ids: Tensor) -> Tensor:
        """Any ids, anywhere, wrong ones included."""
        if ids.is_cuda and gpu.usable():
            return self._on_gpu(ids)
        if not ids.is_cpu or kernels.compiled is None:
            return self._plain(ids)
        if ids.dim() != 2 or ids.shape[1] != self.schema.num_slots or ids.dtype not in ID_BYTES:
            raise self._misshapen(ids)
        plan = self._plan
        if plan is None:
            plan = self._plan = _Plan.of(self, kernels.compiled)
        out = plan.serve(ids, torch.get_num_threads())
        if out is None or plan.rest:
            kept = self._in_range(self._keep(ids))
            assert out is not None, "ids that a kernel refused are all in range"
            for part, places in plan.rest:
                out[:, places] = part.lookup(kept.index_select(1, places))
        return out

    def _plain(self, ids: Tensor) -> Tensor:
        """The lookup in plain torch, on any device."""
        if ids.dim() != 2 or ids.shape[1] != self.schema.num_slots or ids.dtype not in ID_BYTES:
            raise self._misshapen(ids)
        kept = self._in_range(self._keep(ids))
        if len(self.parts) == 1 and self.formats[0].fields == self.fields:
            return self.formats[0].lookup(kept)
        out = torch.empty(*kept.shape, self.width, dtype=torch.float32, device=ids.device)
        for i, part in enumerate(self.formats):
            places = getattr(self, f"_places{i}")
            out[:, places] = part.lookup(kept.index_select(1, places))
        return out

    def _on_gpu(self, ids: Tensor) -> Tensor:
        """The lookup by the kernels for GPUs; parts that have none in plain torch."""
        if ids.dim() != 2 or ids.shape[1] != self.schema.num_slots or ids.dtype not in ID_BYTES:
            raise self._misshapen(ids)
        kept = self._in_range(self._keep(ids))
        out = torch.empty(*kept.shape, self.width, dtype=torch.float32, device=ids.device)
        for i, part in enumerate(self.formats):
            places = getattr(self, f"_places{i}")
            launches = part.launches(kept, places, out)
            if launches is None:
                out[:, places] = part.lookup(kept.index_select(1, places))
            for launch in launches or ():
                gpu.run(launch)
        return out

    def _keep(self, ids: Tensor) -> Tensor:
        """The columns of fields that are kept."""
        return ids if self._takes_all else ids.index_select(1, self._kept)

    def _misshapen(self, ids: Tensor) -> InputError:
        slots = self.schema.num_slots
        return InputError(f"ids are {ids.dtype} {list(ids.shape)}, the table takes int32 or int64 [batch, {slots}]")

    def forward(self, ids: Tensor) -> Tensor:
        """``[B, S]`` ids to ``[B, F, width]`` field vectors."""
        vectors = self.lookup(ids)
        if not self._multivalued:
            return vectors
        return pool_slots(vectors, self._keep(ids), self.schema, self.fields)

    def _in_range(self, ids: Tensor) -> Tensor:
        """Kept ids, all of them rows: an empty slot reads any row (pooling drops it), an unknown id the unseen one."""
        outside = (ids < self._first) | (ids >= self._end)
        if not outside.any():
            return ids
        unknown = outside & ~((ids == PADDING) & self._may_be_empty)
        if self.unknown == "raise" and unknown.any():
            sample, column = unknown.nonzero()[0].tolist()
            field = self.schema.fields[int(self.schema.slot_fields[int(self._kept[column])])]
            raise InputError(
                f"sample {sample}, field '{field.name}': id {ids[sample, column].item()} is outside "
                f"{self._first[column].item()} to {self._end[column].item() - 1}; "
                'encode ids with the schema of the table, or load it with unknown="unseen"'
            )
        return torch.where(outside, self._first.to(ids.dtype), ids)
