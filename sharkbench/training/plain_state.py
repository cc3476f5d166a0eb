"""What a training may change besides the tensors that torch keeps: plain values, tensors and random generators that
layers and callbacks hold as attributes, and the random numbers of the process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule
from torch import nn

_SCALARS = (type(None), bool, int, float, str)
_OF_MODULES = frozenset(vars(LightningModule()))
_OF_CALLBACKS = frozenset((*vars(Callback()), "log", "log_dict"))  # the trainer sets these two


def parts_of(module: LightningModule, callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Everything that may hold state, by name."""
    parts: dict[str, Any] = {f"module.{name}": part for name, part in module.named_modules()}
    return {**parts, **{f"callback.{number}": callback for number, callback in enumerate(callbacks)}}


def attributes(parts: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """``((part, name), value)`` of what each part holds itself: neither its base class does, nor torch keeps it."""
    for part_name, part in parts.items():
        skipped = _OF_MODULES if isinstance(part, nn.Module) else _OF_CALLBACKS
        for name, value in vars(part).items():
            if name not in skipped and name not in ("history", "_since"):
                yield (part_name, name), value


def may_hold(part: str, value: Any) -> bool:
    """Whether a part that holds ``value`` is known to be kept in full: functions and what is frozen do not change.

    A layer's modules are looked at themselves, and its arrays describe its fields; a callback's might be state.
    """
    if isinstance(value, list | tuple):
        return all(may_hold(part, item) for item in value)
    if isinstance(value, dict):
        return all(may_hold(part, item) for item in value.values())
    of_layer = part.startswith("module.")
    if isinstance(value, nn.Module | np.ndarray):
        return of_layer
    of_pydantic = getattr(type(value), "model_config", {}).get("frozen")
    of_dataclass = getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False)
    known = isinstance(value, torch.dtype | torch.device | torch.Size | ModuleType | range | np.generic)
    return is_plain(value) or known or bool(of_pydantic or of_dataclass) or callable(value)


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
