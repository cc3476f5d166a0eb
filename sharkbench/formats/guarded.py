"""A module of formats that verifies at every lookup that its tensors are those that were checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from sharkbench.errors import ArtifactError, InputError
from sharkbench.formats import trust
from sharkbench.formats.base import Format
from sharkbench.formats.plan import Plan
from sharkbench.formats.stored import CHANGING, keeping
from sharkbench.formats.watch import tensors_of, watch

VECTORS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that vectors can have."""
_OWN = ("_direct", "_fast", "_plan", "_seal", "training")


class Guarded(nn.Module):
    """How a packed layer handles what users do to modules: casts, moves, copies, states, assignments."""

    parts: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32
        """Type of the vectors."""
        self._direct: Callable[[Tensor], Tensor | None] | None = None
        self._fast: Callable[[Tensor], Tensor | None] | None = None
        self._plan: Plan | None = None
        self._seal: trust.Seal | None = None
        self._beliefs: list[trust.Belief | None] = []

    def _arrange(self) -> None:
        """Compute the attributes that depend on the parts."""
        raise NotImplementedError

    def believe(self) -> None:
        """Trust the parts, which were just packed, restored or checked, and watch them from now on."""
        self._beliefs = [trust.Belief(part) for part in self.formats]

    @property
    def formats(self) -> list[Format]:
        return list(self.parts)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Device of the table."""
        return next((tensor.device for tensor in tensors_of(self)), torch.device("cpu"))

    def changed(self) -> None:
        """Discard what was compiled for the former tensors, parts and settings."""
        vars(self).update(_direct=None, _fast=None, _plan=None, _seal=None)

    def handed_out(self) -> None:
        """A caller got one of the tensors and may write into it: from now on lookups check the tensors."""
        vars(self).update(_direct=None, _fast=None)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in _OWN:
            self.changed()

    def __getstate__(self) -> dict[str, Any]:
        # A copy has tensors of its own, and is checked at its first lookup.
        return {**self.__dict__, **dict.fromkeys(("_direct", "_fast", "_plan", "_seal")), "_beliefs": []}

    def _replicate_for_data_parallel(self) -> Self:
        replica: Self = super()._replicate_for_data_parallel()
        replica.changed()
        return replica

    def __prepare_scriptable__(self) -> nn.Module:
        raise InputError(
            "torch.jit.script cannot compile a packed table; record it with torch.jit.trace or torch.export"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        asked = fn(torch.empty(0, dtype=self.dtype, device="cpu")).dtype
        if asked not in VECTORS:
            raise InputError(
                f"vectors come as {_names(VECTORS)}, not as {_names([asked])}; the table is left as it was"
            )
        with CHANGING:
            before = self._believed()
            super()._apply(keeping(fn), recurse)
            self.dtype = asked
            beliefs = zip(self.formats, before, strict=True)
            self._beliefs = [trust.Belief(part) if believed else None for part, believed in beliefs]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # All parts are checked before the first is replaced.
        for i, part in enumerate(self.formats):
            held = part.state_dict(keep_vars=True)
            given = {name: state_dict.get(f"{prefix}parts.{i}.{name}", tensor) for name, tensor in held.items()}
            if len(self.parts) > 1 and any(tensor is not held[name] for name, tensor in given.items()):
                trust.restored(part, trust.strided(part, given))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _believed(self) -> list[bool]:
        known = [*self._beliefs, *[None] * len(self.parts)]
        return [b is not None and b.holds(part) for b, part in zip(known, self.formats, strict=False)]

    def _settle(self) -> trust.Seal:
        """Check the parts that may have changed since their last check.

        Raises:
            ArtifactError: a part does not match its format's settings.
        """
        seal = self._seal
        if seal is not None and seal.holds():
            return seal
        with CHANGING, torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
            if not all(isinstance(part, Format) for part in self.parts):
                raise ArtifactError("a part of the table is no format; load the table again")
            believed = self._believed()
            for part, known in zip(self.formats, believed, strict=True):
                if not known or not all(trust.in_order(t) for t in tensors_of(part)):
                    trust.check(part)
            devices = {tensor.device for tensor in tensors_of(self)}
            if len(devices) > 1:
                raise InputError(f"the table is on {' and '.join(sorted(map(str, devices)))}; move it to one of them")
            try:
                self._arrange()
            except ValueError as error:
                raise ArtifactError(f"{error}; load the table again") from None
            watch(self, self)
            self._seal = seal = trust.Seal.of(self)
        return seal


def _names(types: Sequence[torch.dtype]) -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in types)
