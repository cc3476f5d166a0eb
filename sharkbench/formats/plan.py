"""The compiled lookup of a layer: the arguments of its kernels, computed once, and the tensors that they refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from sharkbench.formats import kernels
from sharkbench.formats.base import Format
from sharkbench.formats.trust import Seal

LARGE = 1 << 22
"""Tensors of at least so many bytes are moved into huge pages: about what a TLB covers in pages of 4 KiB."""
RECORDERS = (torch._C._is_tracing, torch._C._len_torch_dispatch_stack)
"""What says yes while torch records calls on plain tensors; what records others gives ids of its own kind."""


@dataclass(frozen=True)
class Plan:
    """Addresses, and the tensors that they point into, which must not move in the meantime."""

    compiled: ModuleType
    words: tuple[bytes, ...]
    held: tuple[Tensor, ...]
    slots: int
    kept: int
    width: int
    forgiving: bool
    rest: list[tuple[Format, Tensor]]
    """Parts without a kernel, with their positions among the kept slots."""
    seal: Seal

    def direct(self, *, watched: bool) -> Callable[[Tensor], Tensor | None] | None:
        """A function that does a whole lookup in one call; it returns ``None`` where an id is invalid or torch is
        recording, and, if ``watched``, where a tensor has changed. ``None`` where lookups need :meth:`serve`."""
        if self.rest or (watched and not isinstance(self.seal.marks, bytes)):
            return None
        told = (self.seal.tensors, self.seal.marks if watched else None, RECORDERS, torch.get_num_threads)
        return partial(self.compiled.serve, self.words, *told, self.slots, self.kept, self.width, self.forgiving)

    def serve(self, ids: Tensor, threads: int) -> Tensor | None:
        """``[B, kept, width]``, with the slots of :attr:`rest` unset; ``None`` if an id was outside its field."""
        ids = ids.contiguous()
        out = torch.empty(len(ids), self.kept, self.width, dtype=torch.float32, device="cpu")
        places = (ids.data_ptr(), ids.itemsize, self.slots, len(ids), out.data_ptr(), self.kept * self.width)
        outside = self.compiled.lookup(self.words, *places, threads)
        return None if outside and not self.forgiving else out

    @classmethod
    def of(
        cls,
        compiled: ModuleType,
        parts: Sequence[tuple[Format, Tensor]],
        kept: Tensor,
        slots: int,
        width: int,
        forgiving: bool,
        seal: Seal,
    ) -> Plan:
        """Args:
        parts: with their positions among the kept slots.
        kept: ``[S']`` int64, the columns of ids that are looked up.
        slots: columns of ids.
        seal: of all tensors of the parts, as they were checked.
        """
        programs: list[kernels.Program] = []
        rest: list[tuple[Format, Tensor]] = []
        for part, places in parts:
            columns = kernels.Columns(kept[places].numpy(), places.numpy() * width)
            mine = part.programs(columns)
            if mine is None:
                rest.append((part, places))
            else:
                programs += mine
        held = tuple(tensor for program in programs for tensor in program.tensors)
        words = tuple(p.words for p in programs)
        for tensor in held:
            if tensor.nbytes >= LARGE:
                compiled.use_huge_pages(tensor.data_ptr(), tensor.nbytes)
        return cls(compiled, words, held, slots, len(kept), width, forgiving, rest, seal)
