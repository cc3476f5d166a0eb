"""A lookup as one torch operator, for recorded calls: traces, exports, compiled and transformed functions.

``sharkbench::lookup(ids, tensors, table)`` takes the table's tensors and, as JSON, the schema, formats and settings
that define their meaning. A recorded program contains the table itself, which is checked and served like a loaded one.
Programs loaded in another process need ``import sharkbench.formats.layer`` before (``sharkbench.load`` does it).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.errors import InputError
from sharkbench.formats.trust import is_plain

_LIBRARY = torch.library.Library("sharkbench", "DEF")
_LIBRARY.define("lookup(Tensor ids, Tensor[] tensors, str table) -> Tensor")
_KEPT = 4
"""Tables of recorded programs that are kept ready to serve."""
_ready: OrderedDict[Any, tuple[Sequence[Tensor], Any]] = OrderedDict()


def is_recorded(ids: Tensor) -> bool:
    """Whether torch records, transforms or only simulates operations on ``ids``."""
    return torch.jit.is_tracing() or bool(torch._C._len_torch_dispatch_stack()) or not is_plain(ids)


def record(layer: Any, ids: Tensor) -> Tensor:
    """``[B, S]`` ids to ``[B, S', width]`` float32, as a call of the operator."""
    state = layer.state_dict(keep_vars=True)
    said = {
        "schema": layer.schema.to_json(),
        "width": layer.width,
        "unknown": layer.unknown,
        "parts": [[part.kind, list(part.fields), part.describe()] for part in layer.formats],
        "tensors": list(state),
        "shape": [len(layer.schema.slot_columns(layer.fields)) if layer.fields else 0, layer.width],
    }
    # A traced shape is a tensor; the table does not depend on the traced values.
    found: Tensor = torch.ops.sharkbench.lookup(ids, list(state.values()), json.dumps(said, default=int))
    return found


def serves(restore: Callable[[Schema, Mapping[str, Any], Mapping[str, Tensor]], Any]) -> None:
    """Register ``restore``, which creates the layer of a recorded table from schema, settings and named tensors."""

    def lookup(ids: Tensor, tensors: Sequence[Tensor], table: str) -> Tensor:
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            raise InputError("a recorded lookup has no gradient to its table; call the table itself for one")
        key = table, tuple((t.data_ptr(), _version(t), t.dtype, t.shape, t.stride()) for t in tensors)
        if key not in _ready:
            said = _parsed(table)
            by_name = {name: t.detach() for name, t in zip(said["tensors"], tensors, strict=True)}
            _ready[key] = tensors, restore(Schema.from_json(said["schema"]), said, by_name)
            while len(_ready) > _KEPT:
                _ready.popitem(last=False)
        served: Tensor = _ready[key][1].served(ids)
        return served

    _LIBRARY.impl("lookup", lookup, "CompositeExplicitAutograd")


@torch.library.register_fake("sharkbench::lookup", lib=_LIBRARY)
def _fake(ids: Tensor, tensors: Sequence[Tensor], table: str) -> Tensor:
    return ids.new_empty((ids.shape[0], *_parsed(table)["shape"]), dtype=torch.float32)


@torch.library.register_vmap("sharkbench::lookup", lib=_LIBRARY)
def _vmap(info: Any, dimensions: Any, ids: Tensor, tensors: Sequence[Tensor], table: str) -> tuple[Tensor, int]:
    of_ids, of_tensors, _ = dimensions
    if of_ids is None or any(d is not None for d in of_tensors):
        raise InputError("vmap goes over ids, not over tables; look each table up by itself")
    several = ids.movedim(of_ids, 0)
    found = torch.ops.sharkbench.lookup(several.flatten(0, 1), tensors, table)
    return found.unflatten(0, several.shape[:2]), 0


@lru_cache(maxsize=2 * _KEPT)
def _parsed(table: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(table)
    return said


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version
