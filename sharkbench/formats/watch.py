"""Notification when a module's tensors, parts or settings are replaced or handed out, at no cost to lookups."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

_HELD = ("_buffers", "_parameters", "_modules")


class Watched(dict[str, Any]):
    """The attributes of a module by name. Every change of the dict calls ``changed`` of its watchers, and every read of
    a tensor calls ``handed_out``, since the reader may write into the tensor.

    Copies and pickles of it are plain dicts: a watcher of the module does not watch its copy.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.watchers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.armed = False
        """Whether watchers are notified when a tensor is next handed out."""

    def touch(self) -> None:
        for watcher in list(self.watchers):
            watcher.changed()

    def hand_out(self) -> None:
        if self.armed:
            self.armed = False
            for watcher in list(self.watchers):
                watcher.handed_out()

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        self.hand_out()
        return dict(self)


def _telling(name: str, tell: Callable[[Watched], None]) -> Callable[..., Any]:
    plain = getattr(dict, name)

    def told(self: Watched, *args: Any, **named: Any) -> Any:
        try:
            return plain(self, *args, **named)
        finally:
            tell(self)

    return told


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(Watched, _name, _telling(_name, Watched.touch))
for _name in ("__getitem__", "__or__", "__ror__", "get", "items", "values"):
    setattr(Watched, _name, _telling(_name, Watched.hand_out))


def watch(module: nn.Module, watcher: Any) -> None:
    """Have ``watcher.changed()`` called when ``module``, or a module within it, gets another tensor or module, and
    ``watcher.handed_out()`` when one of its tensors is read after :func:`arm`."""
    for part in module.modules():
        for name in _HELD:
            held = part.__dict__[name]
            if not isinstance(held, Watched):
                held = part.__dict__[name] = Watched(held)
            held.watchers.add(watcher)


def arm(module: nn.Module) -> None:
    """Notify watchers, once, when a tensor of a watched module is read."""
    for part in module.modules():
        for name in ("_buffers", "_parameters"):
            vars(part)[name].armed = True


def touch(module: nn.Module) -> None:
    """Notify the watchers of ``module`` of another change."""
    held = module.__dict__.get("_buffers")
    if isinstance(held, Watched):
        held.touch()


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """The stored tensors of a module, without notifying its watchers."""
    for part in module.modules():
        for name, tensor in [*dict.items(vars(part)["_buffers"]), *dict.items(vars(part)["_parameters"])]:
            if tensor is not None and name not in part._non_persistent_buffers_set:
                yield tensor
