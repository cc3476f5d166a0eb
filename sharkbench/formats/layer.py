"""The packed layer: the formats of all fields together, and the lookup that all measurements use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling

from sharkbench.data.schema import PADDING, Schema
from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats import gpu, kernels, recorded, trust
from sharkbench.formats.base import Format, neutral, replicated
from sharkbench.formats.guarded import Guarded
from sharkbench.formats.ids import as_ids
from sharkbench.formats.plan import Plan
from sharkbench.formats.pooling import pool_slots
from sharkbench.formats.registry import format_of_kind
from sharkbench.formats.stored import CHANGING
from sharkbench.formats.watch import arm

Unknown = Literal["raise", "unseen"]


class PackedLayer(Guarded):
    """Formats side by side: ids ``[B, S]`` to field vectors ``[B, F, width]``, ``F`` counting kept fields only.

    A field that no format serves has been pruned: it takes no bytes and is not looked up. Kept fields are returned in
    the schema's order. Ids are a tensor, a NumPy array or a list of whole numbers.

    How it handles what users do to modules:

    - ``half()``, ``to(dtype)`` and the like set the type of the vectors (:attr:`dtype`, float32 at first), to which
      they are rounded last. Stored tensors keep their types, so this rounding is the only change of values.
    - ``load_state_dict`` takes tensors that the format's ``restore`` takes, and replaces those of the table: all or,
      with an ArtifactError, none. Tensors that are assigned, edited in place through torch, moved or copied are
      checked in the same way before the next lookup. (Writes through ``.data``, NumPy or another process cannot be
      detected.) After ``to_empty``, or on the meta device, they have no content: lookups are refused until some is
      loaded.
    - ``torch.jit.trace``, ``torch.export`` and ``vmap`` record a lookup as the operator ``sharkbench::lookup`` with the
      table's tensors. A compiled model calls the table between its graphs (``fullgraph=True`` and ``strict=True`` do
      not allow such a call). ``torch.jit.script`` and symbolic traces are refused.
    - Tensors that require gradients get them, in plain torch. Autocast and default types and devices have no effect.

    Args:
        unknown: how an id outside its field's rows is handled: ``"raise"`` an InputError, or read the row of
            ``"unseen"`` values (the field's first). Memory outside the table is never read.
    """

    def __init__(self, schema: Schema, width: int, parts: Sequence[Format], unknown: Unknown = "raise") -> None:
        super().__init__()
        self.schema, self.width, self.unknown = schema, width, unknown
        self.parts = nn.ModuleList(parts)
        self._kept: Tensor
        self._first: Tensor
        self._end: Tensor
        self._may_be_empty: Tensor
        self._arrange()
        self.believe()

    def _arrange(self) -> None:
        """Compute from schema and parts the columns of ids and the positions of vectors."""
        schema, parts = self.schema, self.formats
        served = [f for part in parts for f in part.fields]
        if len(set(served)) != len(served):
            raise ValueError("a field is served by two formats")
        if any(part.width != self.width or part.schema != schema for part in parts):
            raise ValueError(f"a format has another schema than the layer, or rows that are not {self.width} wide")
        self.fields: tuple[int, ...] = tuple(sorted(served))
        kept = schema.slot_columns(self.fields) if self.fields else np.zeros(0, dtype=np.int64)
        position = {int(slot): i for i, slot in enumerate(kept)}
        self._takes_all = len(kept) == schema.num_slots
        owner = schema.slot_fields[kept]
        self._multivalued = any(schema.fields[f].slots > 1 for f in self.fields)
        self._buffer("_kept", kept)
        self._buffer("_first", schema.offsets[:-1][owner])
        self._buffer("_end", schema.offsets[1:][owner])
        self._buffer("_may_be_empty", np.array([schema.fields[f].slots > 1 for f in owner], dtype=bool))
        for i, part in enumerate(parts):
            self._buffer(f"_places{i}", np.array([position[int(s)] for s in schema.slot_columns(part.fields)]))

    def _buffer(self, name: str, values: np.ndarray) -> None:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
        self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def restore(
        cls,
        schema: Schema,
        width: int,
        parts: Sequence[tuple[str, Sequence[int], Mapping[str, Any]]],
        tensors: Mapping[str, Tensor],
        unknown: Unknown = "raise",
    ) -> PackedLayer:
        """The layer of these parts (kind, fields, settings), whose tensors have the names of the state dict.

        Raises:
            ArtifactError: parts and tensors do not match.
        """
        served = [f for _, fields, _ in parts for f in fields]
        if len(set(served)) != len(served) or not all(0 <= f < schema.num_fields for f in served):
            raise ArtifactError("a part serves a field twice, or one that does not exist; the file is damaged")
        made, read = [], set()
        for i, (kind, fields, settings) in enumerate(parts):
            if not fields:
                raise ArtifactError(f"part {i} serves no field; the file is damaged")
            prefix = f"parts.{i}."
            own = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
            read |= set(own.values())
            mine = {short: tensors[name] for short, name in own.items()}
            made.append(format_of_kind(kind).restore(schema, fields, width, settings, mine))
        if read != set(tensors):
            raise ArtifactError(f"tensor '{min(set(tensors) - read)}' belongs to no part; the file is damaged")
        return cls(schema, width, made, unknown)

    def _compile(self, seal: trust.Seal) -> Plan:
        plan = self._plan
        if plan is None or self._direct is None:
            assert kernels.compiled is not None
            with CHANGING, torch.device("cpu"), torch.inference_mode(False):
                if plan is None:
                    parts = [(part, getattr(self, f"_places{i}")) for i, part in enumerate(self.formats)]
                    told = (self._kept, self.schema.num_slots, self.width, self.unknown == "unseen", seal)
                    self._plan = plan = Plan.of(kernels.compiled, parts, *told)
                private = trust.is_private(seal, plan.held)
                if private:
                    arm(self.parts)
                self._direct = plan.direct(watched=not private)
                self._fast = self._direct if self.dtype == torch.float32 else None
        return plan

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.formats)

    @property
    def num_parameters(self) -> int:
        """Stored values, of any precision."""
        return sum(part.num_parameters for part in self.formats)

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

    def __call__(self, ids: Any) -> Tensor:
        """:meth:`forward`, without a module's handling of hooks where this layer has none: it takes longer than a small
        lookup."""
        if is_dynamo_compiling():
            return _uncompiled(self, ids)
        if self._multivalued or self._forward_hooks or self._forward_pre_hooks or self._backward_hooks:
            found: Tensor = super().__call__(ids)
            return found
        fast = self._fast
        if fast is not None:
            out = fast(ids)
            return out if out is not None else self._stepwise(ids)
        return self.lookup(ids)

    def lookup(self, ids: Any) -> Tensor:
        """``[B, S]`` ids to one vector per kept slot, ``[B, S', width]``, before pooling.

        Raises:
            InputError: the shape is not that of the schema, or ``unknown`` is ``"raise"`` and an id is out of range.
            ArtifactError: the table's tensors were changed and no longer match its settings.
        """
        fast = self._fast
        if fast is not None:
            out = fast(ids)
            return out if out is not None else self._stepwise(ids)
        vectors = self._float32(ids)
        return vectors if self.dtype == torch.float32 else vectors.to(self.dtype)

    def forward(self, ids: Any) -> Tensor:
        """``[B, S]`` ids to ``[B, F, width]`` field vectors."""
        if not self._multivalued:
            return self.lookup(ids)
        ids = as_ids(ids, self.schema.num_slots)
        pooled = pool_slots(self._float32(ids), self._keep(ids), self.schema, self.fields)
        return pooled if self.dtype == torch.float32 else pooled.to(self.dtype)

    def _float32(self, ids: Any) -> Tensor:
        """``[B, S', width]`` float32, as formats return them."""
        direct = self._direct
        if direct is not None:
            out = direct(ids)
            if out is not None:
                return out
        return self._stepwise(ids)

    def _stepwise(self, ids: Any) -> Tensor:
        """A lookup that cannot be one call: ids of any type, on any device, invalid ones included."""
        ids = as_ids(ids, self.schema.num_slots)
        if recorded.is_recorded(ids):
            return recorded.record(self, ids)
        if ids.is_meta:
            return ids.new_empty((len(ids), len(self._kept), self.width), dtype=torch.float32)
        return self.served(ids)

    def served(self, ids: Tensor) -> Tensor:
        """A lookup of ids of any type, on any device, invalid ones included, that is not recorded."""
        seal = self._settle()
        if ids.device != self.device and len(self.parts):
            raise InputError(f"ids are on {ids.device}, the table is on {self.device}; move one of them")
        if any(tensor.requires_grad for tensor in seal.tensors):
            return self._plain(ids)
        if ids.is_cuda and gpu.usable():
            return self._on_gpu(ids)
        if not ids.is_cpu or kernels.compiled is None:
            return self._plain(ids)
        plan = self._compile(seal)
        out = plan.serve(ids, torch.get_num_threads())
        if out is None or plan.rest:
            kept = self._in_range(self._keep(ids))
            assert out is not None, "ids that a kernel refused are all in range"
            with neutral(ids.device):
                for part, places in plan.rest:
                    out[:, places] = part.lookup(kept.index_select(1, places))
        return out

    def _plain(self, ids: Tensor) -> Tensor:
        """The lookup in plain torch, on any device."""
        kept = self._in_range(self._keep(ids))
        with neutral(ids.device):
            if len(self.parts) == 1 and self.formats[0].fields == self.fields:
                return self.formats[0].lookup(kept)
            out = torch.empty(*kept.shape, self.width, dtype=torch.float32, device=ids.device)
            for i, part in enumerate(self.formats):
                places = getattr(self, f"_places{i}")
                out[:, places] = part.lookup(kept.index_select(1, places))
        return out

    def _on_gpu(self, ids: Tensor) -> Tensor:
        """The lookup by the kernels for GPUs; parts without a kernel in plain torch."""
        kept = self._in_range(self._keep(ids))
        out = torch.empty(*kept.shape, self.width, dtype=torch.float32, device=ids.device)
        with neutral(ids.device):
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

    def _in_range(self, ids: Tensor) -> Tensor:
        """Kept ids, all of them valid: an empty slot reads any row (pooling drops it), an unknown id the unseen row."""
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


@torch._disable_dynamo
def _uncompiled(layer: PackedLayer, ids: Any) -> Tensor:
    """A lookup within a compiled model: the table's own kernels run between the compiled graphs."""
    return layer(ids)


def _restored(schema: Schema, said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PackedLayer:
    return PackedLayer.restore(schema, said["width"], said["parts"], tensors, said["unknown"])


recorded.serves(_restored)
