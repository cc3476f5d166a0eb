"""Lightning's DDP for models whose tables have sparse gradients, or rows that are not torch parameters.

Torch's own wrapper supports sparse gradients of ``nn.Embedding`` only, and does not see row stores. So the strategy
only connects the processes; the gradients are averaged here, between the backward pass and the optimizer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from sharkbench.errors import SharkbenchError
from sharkbench.model.model import Model
from sharkbench.tables.row_store import StoredRows
from sharkbench.tables.sharded import shard_of
from sharkbench.training.gradients import sum_rows
from sharkbench.training.group import Group

LARGE = 1 << 20
"""Gradients with at least this many elements are sent one by one, smaller ones together."""


class Replicas(DDPStrategy):
    """DDP without torch's wrapper around the module, for processes that have been started already."""

    def __init__(self) -> None:
        super().__init__(cluster_environment=TorchElasticEnvironment())

    def _configure_launcher(self) -> None:
        """Do nothing: the processes have been started already."""

    def configure_ddp(self) -> None:
        """Do nothing: the module averages its gradients itself."""


def replicas(group: Group) -> dict[str, Any]:
    """Arguments of a ``Trainer`` for ``group``; none for one process."""
    if group.size == 1:
        return {}
    return {"strategy": Replicas(), "num_nodes": group.size // local_size(group)}


def local_size(group: Group) -> int:
    """Number of processes of the group on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", group.size)) if group.size > 1 else 1


def local_rank(group: Group) -> int:
    """Rank of this process among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", group.rank)) if group.size > 1 else 0


def share_of_batch(loss: Tensor, weight: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Scale a process's weighted mean ``loss`` to its share of the whole batch's; also returns the batch's weight.

    Processes average by their numbers of samples, which turns these shares into the weighted mean over the batch.

    Args:
        weight: ``[B]``, weights of this process's samples, at least one.
    """
    own = weight.sum()
    if group.size == 1:
        return loss, own
    whole, samples = group.sum(torch.stack([own, own.new_tensor(len(weight))]))
    return loss * (own / torch.where(whole > 0, whole, 1)) * (samples / len(weight)), whole


def average_gradients(parameters: Iterable[nn.Parameter], samples: int, group: Group) -> None:
    """Turn the gradients of each process's mean loss times its ``samples`` into those of the mean over all samples.

    The result is bit-identical in all processes. Sparse gradients are joined, with every row once. The gradient of a
    sharded table already contains the contributions of all processes.
    """
    found = [(p, p.grad) for p in parameters if p.grad is not None]
    if not found:
        return
    small = [g for p, g in found if not g.is_sparse and shard_of(p) is None and g.numel() < LARGE]
    counted = torch.tensor([float(samples)], device=found[0][1].device)
    flat = group.sum(torch.cat([*(g.flatten() for g in small), counted]))
    total = float(flat[-1])
    means = (flat[:-1] / total).split([g.numel() for g in small])
    for gradient, mean in zip(small, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    for parameter, gradient in found:
        is_whole = shard_of(parameter) is None
        if gradient.is_sparse:
            gradient = sum_rows(gradient)
            gradient = _joined(gradient, group) if is_whole else gradient
            gradient._values().div_(total)
            parameter.grad = gradient
        elif not is_whole:
            gradient.div_(total)
        elif gradient.numel() >= LARGE:
            group.sum(gradient).div_(total)


def _joined(gradient: Tensor, group: Group) -> Tensor:
    rows = torch.cat(group.gather(gradient._indices()[0]))
    values = torch.cat(group.gather(gradient._values()))
    return sum_rows(torch.sparse_coo_tensor(rows[None], values, gradient.shape, check_invariants=False))


def check_alike(model: Model, group: Group) -> None:
    """Raise unless all processes have the same weights and buffers, except the rows of sharded tables.

    Raises:
        SharkbenchError: a step had different effects in different processes.
    """
    if group.size == 1:
        return
    parts = [table for table in model.embedding.row_tables() if shard_of(table) is not None]
    stores = [table.store for table in parts if isinstance(table, StoredRows)]
    apart = {id(t) for t in parts} | {id(t) for s in stores if isinstance(s, nn.Module) for t in s.buffers()}
    whole = [t.detach() for t in (*model.parameters(), *model.buffers()) if id(t) not in apart]
    sums = torch.stack([_checksum(t) for t in whole])
    first = sums.clone() if group.first else torch.zeros_like(sums)
    differs = (group.sum(first) != sums).any().long()
    if int(group.sum(differs)):
        raise SharkbenchError(
            "the processes have come to different weights: what this method does while it trains depends on the part "
            "of the batch that a process has, or on its own chance; set train.processes to 1"
        )


def _checksum(tensor: Tensor) -> Tensor:
    """Sum of a tensor's bytes, or of its words; computed in pieces, because a 64-bit sum copies its input."""
    flat = tensor.contiguous().view(-1).view(torch.uint8)
    words = flat if len(flat) % 4 else flat.view(torch.int32)
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for piece in words.split(LARGE):
        total += piece.sum(dtype=torch.int64)
    return total
