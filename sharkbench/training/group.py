"""The group of processes that train one model together, and their communication."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor

from sharkbench.errors import InputError

LONGEST_WAIT = timedelta(days=1)
"""Timeout for other processes: the first one may have to wait for another run. A dead process is noticed at once."""


@dataclass(frozen=True)
class Group:
    """``size`` processes that run the same code, each on its part of every batch; this one has number ``rank``.

    With one process, every method returns its input unchanged and sends nothing.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, processes: int) -> Self:
        """Connect to the other processes on the first call; addresses come from the variables that ``torchrun`` sets.

        Raises:
            InputError: this process was not started as one of ``processes``.
        """
        if processes == 1:
            return cls()
        if not dist.is_initialized():
            if int(os.environ.get("WORLD_SIZE", 1)) != processes:
                raise InputError(
                    f"train.processes is {processes}, but this process is one of {os.environ.get('WORLD_SIZE', 1)}; "
                    f"'sharkbench run' starts them, and for a script 'torchrun --nproc-per-node {processes}' does"
                )
            # The loopback device connects the processes of one machine even without a network.
            if os.environ.get("MASTER_ADDR") in ("127.0.0.1", "localhost"):
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            dist.init_process_group(backend, timeout=LONGEST_WAIT)
        if dist.get_world_size() != processes:
            raise InputError(f"train.processes is {processes}, but {dist.get_world_size()} processes are joined")
        return cls(dist.get_rank(), processes)

    @property
    def first(self) -> bool:
        """Whether this is the first process, which writes."""
        return self.rank == 0

    def agree(self, yes: bool) -> bool:
        """The answer ``yes`` of the first process, in all processes."""
        if self.size == 1:
            return yes
        said = torch.tensor([yes])
        dist.broadcast(said, 0)
        return bool(said)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, in place; bit-identical in each."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, number: int) -> int:
        """Maximum of ``number`` over the processes."""
        if self.size == 1:
            return number
        found = torch.tensor([number])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def total(self, number: int) -> int:
        """Sum of ``number`` over the processes."""
        return int(self.sum(torch.tensor([number])))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Tensors ``[n, ...]`` of all processes, in order of rank; ``n`` may differ."""
        if self.size == 1:
            return [tensor]
        lengths = torch.zeros(self.size, dtype=torch.int64, device=tensor.device)
        lengths[self.rank] = len(tensor)
        counts = self.sum(lengths).tolist()
        sent = tensor.new_zeros(max(counts), *tensor.shape[1:])
        sent[: len(tensor)] = tensor
        received = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(received, sent)
        return [part[:count] for part, count in zip(received, counts, strict=True)]


ALONE = Group()
