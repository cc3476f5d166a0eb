"""Batch normalisation with the statistics of the whole batch, of which each process has a part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sharkbench.training.group import Group


@contextmanager
def synced_norms(module: nn.Module, group: Group) -> Iterator[None]:
    """Context in which ``module`` has :class:`SyncedBatchNorm` for batch normalisation; no change with one process."""
    norms = [part for part in module.modules() if type(part) is nn.BatchNorm1d] if group.size > 1 else []
    for norm in norms:
        norm.__class__ = SyncedBatchNorm
        norm.__dict__["group"] = group
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["group"]
            norm.__class__ = nn.BatchNorm1d


class SyncedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of ``[B, C]`` with the mean and variance over the rows of all processes.

    ``torch.nn.SyncBatchNorm`` supports GPUs only.
    """

    group: Group

    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        with torch.no_grad():
            count, mean, variance = _moments(x.float(), self.group)
            if self.track_running_stats:
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), rate)
            inverse = torch.rsqrt(variance + self.eps)
        weight = self.weight if self.weight is not None else torch.ones_like(mean)
        bias = self.bias if self.bias is not None else torch.zeros_like(mean)
        normal: Tensor = _Normalise.apply(x.float(), weight, bias, mean, inverse, count, self.group)
        return normal.to(x.dtype)


def _moments(x: Tensor, group: Group) -> tuple[float, Tensor, Tensor]:
    """Number of rows of all processes, and their mean and (biased) variance ``[C]``."""
    mean = x.mean(0)
    variance = (x - mean).square_().mean(0)  # twice as fast as var_mean over the rows
    own = torch.cat([mean, variance, mean.new_tensor([len(x)])])
    received = [torch.empty_like(own) for _ in range(group.size)]
    dist.all_gather(received, own)
    means, variances, counts = torch.stack(received).split([x.shape[1], x.shape[1], 1], 1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return float(total), mean, variance


class _Normalise(torch.autograd.Function):
    """``y = (x - mean) * inverse * weight + bias``; mean and variance depend on the rows of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, count: float, group: Group
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.count, ctx.group = count, group
        scale = inverse * weight
        return torch.addcmul(bias - mean * scale, x, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With ``n = (x - mean) * inverse``: ``dx = weight * inverse * (g - mean(g) - n * mean(g * n))``."""
        (g,), (x, weight, mean, inverse) = gradients, ctx.saved_tensors
        normal = (x - mean).mul_(inverse)
        own = torch.stack([g.sum(0), (g * normal).sum(0)])
        of_bias, of_weight = own[0], own[1]
        shift, slope = ctx.group.sum(own.clone()) / ctx.count
        of_x = (g - shift).addcmul_(normal, slope, value=-1).mul_(weight * inverse)
        return of_x, of_weight, of_bias, None, None, None, None
