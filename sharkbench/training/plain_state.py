"""What a training may change besides the tensors that torch keeps: plain values, tensors and random generators that
layers and callbacks hold as attributes, and the random numbers of the process."""

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
    """Something holds state that nobody can know to be kept."""


def parts_of(
    module: LightningModule, callbacks: Sequence[Callback], own: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Everything that may hold state, by name; ``own`` are objects of the method's."""
    parts: dict[str, Any] = {f"module.{name}": part for name, part in module.named_modules()}
    named = {f"own.{name}": part for name, part in (own or {}).items()}
    return {**parts, **{f"callback.{number}": callback for number, callback in enumerate(callbacks)}, **named}


def attributes(parts: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """``((part, name), value)`` of what each part holds itself: neither its base class does, nor torch keeps it."""
    for part_name, part in parts.items():
        skipped = _OF_MODULES if isinstance(part, nn.Module) else _OF_CALLBACKS
        for name, value in vars(part).items():
            if part_name.startswith("own.") or (name not in skipped and name not in ("history", "_since")):
                yield (part_name, name), value


def may_hold(part: str, value: Any, trained: set[int]) -> bool:
    """Whether a part that holds ``value`` is known to be kept in full: functions and what is frozen do not change.

    A layer's modules are looked at themselves, and its arrays describe its fields; a callback's might be state.

    Args:
        trained: ids of the modules and tensors that are kept themselves.
    """
    if isinstance(value, list | tuple):
        return all(may_hold(part, item, trained) for item in value)
    if isinstance(value, dict):
        return all(may_hold(part, item, trained) for item in value.values())
    of_layer = part.startswith("module.")
    if isinstance(value, nn.Module | np.ndarray):
        return of_layer or id(value) in trained
    if isinstance(value, StoredRows):  # it has no numbers of its own
        return id(value.store) in trained or not isinstance(value.store, nn.Module)
    return is_plain(value) or id(value) in trained or _is_constant(value) or callable(value)


def _is_constant(value: Any) -> bool:
    """Whether it cannot change, and is decided by the code and the settings of a run."""
    of_pydantic = getattr(type(value), "model_config", {}).get("frozen")
    of_dataclass = getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False)
    known = isinstance(value, torch.dtype | torch.device | torch.Size | ModuleType | range | np.generic)
    return known or bool(of_pydantic or of_dataclass)


def holds_state(function: object) -> bool:
    """Whether it is an object with attributes of its own, which are kept like those of a callback."""
    code = isinstance(function, FunctionType | BuiltinFunctionType | MethodType | partial | type)
    return not (code or _is_constant(function) or isinstance(function, nn.Module))


def contents(value: Any, trained: set[int]) -> Iterator[Any]:
    """What a function is and what it holds (arguments, variables of where it was written), as parts of plain values.

    What is trained is left out, as it is kept itself; of what is frozen, plain values only.

    Raises:
        Unkept: it holds something that may be state.
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
    """Whether a value is made of numbers, text, tensors, random generators, and lists and mappings of such."""
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
    """A plain value as torch saves and loads it without unpickling anything else."""
    if isinstance(value, torch.Generator):
        return {"generator": str(value.device), "state": value.get_state()}
    if isinstance(value, dict):
        return {"dict": {key: packed(item) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [packed(item) for item in value]}
    return {"tensor": value.detach(), "device": str(value.device)} if isinstance(value, torch.Tensor) else value


def unpacked(value: Any) -> Any:
    """The plain value that :func:`packed` was given; tensors and generators on the device that they were on."""
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
    """A plain value that shares nothing with the one that it is a copy of."""
    if isinstance(value, torch.Generator):
        return unpacked({**packed(value), "state": value.get_state().clone()})
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, those that are not saved with the module included."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def random_state() -> dict[str, Any]:
    """Where the random numbers of this process are."""
    numpy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with the random numbers that :func:`random_state` saw."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy = state["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": np.array(numpy["state"]["key"], np.uint32)}})
