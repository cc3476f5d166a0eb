"""Modules whose tensors are the storage of a table: casts do not change them, and loading replaces them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from sharkbench.formats.watch import touch

CHANGING = threading.RLock()
"""Held while a table is checked, compiled or replaced."""
_PART = 1 << 26
"""Bytes compared at a time."""


class Stored(nn.Module):
    """Tensors whose types and bits have a meaning: codes, indices, counters, values of a stated type.

    ``.half()`` and the like change no tensor here: the layer decides the type of vectors. Moving a tensor moves its
    bytes. A tensor that loses its content (``to_empty``, the meta device) stays on the meta device, without memory,
    until it is loaded. ``load_state_dict`` replaces tensors and never writes into them: a lookup in another thread ends
    with the table that it began with.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "training":
            touch(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(keeping(fn), recurse)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        assign = bool(local_metadata.get("assign_to_params_buffers", False))
        held = self.state_dict(keep_vars=True)
        given = {name: state_dict[prefix + name] for name in held if prefix + name in state_dict}
        if any(tensor is not held[name] for name, tensor in given.items()):
            with CHANGING:
                self.exchange(given, assign)
            # What comes after, for the modules within as well, finds what it holds already and reports what is missing.
            state_dict.update(
                {prefix + name: t for name, t in self.state_dict(keep_vars=True).items() if name in given}
            )
        metadata = {**local_metadata, "assign_to_params_buffers": True}
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs)

    def exchange(self, given: Mapping[str, Any], assign: bool) -> None:
        """Replace tensors by the names of the state dict: by ``given`` if ``assign``, else by copies on the device."""
        self.hold(placed(self.state_dict(keep_vars=True), given, assign))

    def hold(self, tensors: Mapping[str, Tensor]) -> None:
        """Set these tensors under the names of the state dict."""
        for name, tensor in tensors.items():
            path, _, last = name.rpartition(".")
            module = self.get_submodule(path)
            holder: dict[str, Tensor | None] = module._buffers
            if last in module._parameters:
                holder = module._parameters  # type: ignore[assignment]
                tensor = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, tensor.requires_grad)
            if holder.get(last) is not tensor:
                holder[last] = tensor


def placed(held: Mapping[str, Tensor], given: Mapping[str, Any], assign: bool) -> dict[str, Any]:
    """``given`` unchanged if ``assign``, else copies on the devices of the tensors of ``held``."""
    if assign:
        return dict(given)
    devices = {name: tensor.device for name, tensor in held.items()}
    return {
        name: tensor.detach().to(tensor.device if devices[name].type == "meta" else devices[name], copy=True)
        for name, tensor in given.items()
    }


def keeping(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``fn`` of a module's ``_apply``, restricted to moving the bytes of a stored tensor; its type stays.

    The result has no content (it is on the meta device) where ``fn`` did not preserve it.
    """

    def kept(tensor: Tensor) -> Tensor:
        numbers = tensor.detach().contiguous()
        # A single value may have any stride, which a view of its bytes may not.
        flat = numbers.as_strided((numbers.numel(),), (1,)).view(torch.uint8)
        got = fn(flat).detach()
        if got.dtype != torch.uint8 or got.shape != flat.shape:  # a cast of everything, as by module.type()
            got = flat.to(got.device)
        if got.device == tensor.device and (got.is_meta or got.data_ptr() == tensor.data_ptr()):
            return tensor
        if not same_bytes(got, flat):
            return torch.empty_like(tensor, device="meta")
        return got.view(tensor.dtype).view(tensor.shape)

    return kept


def same_bytes(a: Tensor, b: Tensor) -> bool:
    if a.is_meta or b.is_meta:
        return False
    return all(torch.equal(x.to(y.device), y) for x, y in zip(a.split(_PART), b.split(_PART), strict=True))
