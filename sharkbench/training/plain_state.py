"""State of a training besides the tensors that torch saves: plain values, tensors and random generators that layers
and callbacks hold as attributes, and the state of the process's random number generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule
from torch import nn

from sharkbench.tables.row_store import StoredRows

_SCALARS = (type(None), bool, int, float, str)
_OF_MODULES = frozenset(vars(LightningModule()))
_OF_CALLBACKS = frozenset((*vars(Callback()), "log", "log_dict"))  # the trainer sets these two


class Unkept(Exception):
    """An object holds state of which it is unknown whether it is saved."""


def parts_of(
    module: LightningModule, callbacks: Sequence[Callback], own: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """All objects that may hold state, by name; ``own`` are the method's objects."""
    parts: dict[str, Any] = {f"module.{name}": part for name, part in module.named_modules()}
    named = {f"own.{name}": part for name, part in (own or {}).items()}
    return {**parts, **{f"callback.{number}": callback for number, callback in enumerate(callbacks)}, **named}


def attributes(parts: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """``((part, name), value)`` of each part's own attributes: its base class lacks them, torch does not save them."""
    for part_name, part in parts.items():
        skipped = _OF_MODULES if isinstance(part, nn.Module) else _OF_CALLBACKS
        for name, value in vars(part).items():
            if part_name.startswith("own.") or (name not in skipped and name not in ("history", "_since")):
                yield (part_name, name), value


def may_hold(part: str, value: Any, trained: set[int]) -> bool:
    """Whether ``value`` may be held by a part without unsaved state: functions and frozen objects do not change.

    The modules of a layer are examined themselves, and its arrays describe its fields; those of a callback might be
    state.

    Args:
        trained: ids of the modules and tensors that are saved themselves.
    """
    if isinstance(value, list | tuple):
        return all(may_hold(part, item, trained) for item in value)
    if isinstance(value, dict):
        return all(may_hold(part, item, trained) for item in value.values())
    of_layer = part.startswith("module.")
    if isinstance(value, nn.Module | np.ndarray):
        return of_layer or id(value) in trained
    if isinstance(value, StoredRows):  # it has no values of its own
        return id(value.store) in trained or not isinstance(value.store, nn.Module)
    return is_plain(value) or id(value) in trained or _is_constant(value) or callable(value)


def _is_constant(value: Any) -> bool:
    """Whether the value cannot change and is determined by the code and the settings of a run."""
    of_pydantic = getattr(type(value), "model_config", {}).get("frozen")
    of_dataclass = getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False)
    known = isinstance(value, torch.dtype | torch.device | torch.Size | ModuleType | range | np.generic)
    return known or bool(of_pydantic or of_dataclass)


def holds_state(function: object) -> bool:
    """Whether it is an object with its own attributes, which are saved like those of a callback."""
    code = isinstance(function, FunctionType | BuiltinFunctionType | MethodType | partial | type)
    return not (code or _is_constant(function) or isinstance(function, nn.Module))


def contents(value: Any, trained: set[int]) -> Iterator[Any]:
    """The code of a function and what it holds (bound arguments, closure variables), as parts of plain values.

    Trained objects are left out, because they are saved themselves; of frozen objects, only plain values are included.

    Raises:
        Unkept: the function holds something that may be state.
    """
    if id(value) in trained:
        yield "trained"
    elif is_plain(value):
        yield from leaves(value)
    elif isinstance(value, partial):
        yield from contents([value.func, list(value.args), value.keywords], trained)
    elif isinstance(value, MethodType):
        yield from contents([value.__func__, value.__self__], trained)
    elif isinstance(value, FunctionType | BuiltinFunctionType | type):
        yield f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, FunctionType):
            held = [cell.cell_contents for cell in value.__closure__ or ()]
            yield from contents([held, list(value.__defaults__ or ()), value.__kwdefaults__ or {}], trained)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from contents(item, trained)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from contents(item, trained)
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(np.ascontiguousarray(value))
    elif _is_constant(value):
        yield f"{type(value).__module__}.{type(value).__qualname__}"
        if is_dataclass(value) or hasattr(type(value), "model_fields"):
            yield from leaves({name: one for name, one in vars(value).items() if is_plain(one)})
        else:
            yield repr(value)
    else:
        raise Unkept(type(value).__qualname__)


def is_plain(value: Any) -> bool:
    """Whether a value consists of numbers, text, tensors, random generators, and lists and mappings of these."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(is_plain(item) for item in value)
    return type(value) in (*_SCALARS, torch.Tensor, torch.Generator)


def leaves(value: Any) -> Iterator[Any]:
    """The parts of a plain value, in order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        yield len(value)
        for item in value:
            yield from leaves(item)
    else:
        yield value


def as_bytes(leaf: Any) -> Any:
    """The content of a part of a plain value."""
    if isinstance(leaf, torch.Generator):
        leaf = leaf.get_state()
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().cpu().contiguous().flatten().view(torch.uint8).numpy() if leaf.numel() else b""
    return repr(leaf).encode()


def packed(value: Any) -> Any:
    """Convert a plain value to a form that torch saves and loads without unpickling other types."""
    if isinstance(value, torch.Generator):
        return {"generator": str(value.device), "state": value.get_state()}
    if isinstance(value, dict):
        return {"dict": {key: packed(item) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [packed(item) for item in value]}
    return {"tensor": value.detach(), "device": str(value.device)} if isinstance(value, torch.Tensor) else value


def unpacked(value: Any) -> Any:
    """Restore the plain value given to :func:`packed`; tensors and generators return to their devices."""
    if not isinstance(value, dict):
        return value
    if "generator" in value:
        generator = torch.Generator(value["generator"])
        generator.set_state(value["state"])
        return generator
    if "tensor" in value:
        return value["tensor"].to(value["device"])
    if "dict" in value:
        return {key: unpacked(item) for key, item in value["dict"].items()}
    [(kind, items)] = value.items()
    return (list if kind == "list" else tuple)(unpacked(item) for item in items)


def copied(value: Any) -> Any:
    """A deep copy of a plain value."""
    if isinstance(value, torch.Generator):
        return unpacked({**packed(value), "state": value.get_state().clone()})
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, including those that are not saved with the module."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def random_state() -> dict[str, Any]:
    """State of the random number generators of this process."""
    numpy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a state of :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy = state["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": np.array(numpy["state"]["key"], np.uint32)}})
