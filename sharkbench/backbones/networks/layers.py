"""Layers that several backbones share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharkbench.backbones.config import Activation, DeepSettings

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def perceptron(inputs: int, config: DeepSettings, *, hidden: Sequence[int], outputs: int | None) -> nn.Sequential:
    """Linear, batch norm, activation, dropout for each of ``hidden``, then a linear layer to ``outputs`` if given."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers.append(nn.Linear(inputs, units))
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(ACTIVATIONS[config.activation]())
        if config.dropout:
            layers.append(Dropout(config.dropout))
        inputs = units
    if outputs is not None:
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


class Dropout(nn.Module):
    """Inverted dropout. On a CPU four units share one random draw of 64 bits, three times as fast as torch's dropout.

    There the probability is rounded to a multiple of 2^-16, and the scale is that of the rounded probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = round(p * 2**16)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        p = self.dropped / 2**16
        if not x.is_cpu:
            return F.dropout(x, p)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = draws[: x.numel()].view(x.shape) >= self.dropped - 2**15
        return x * (kept.to(x.dtype) * (1 / (1 - p)))

    def extra_repr(self) -> str:
        return f"p={self.dropped / 2**16:g}"


class FirstOrder(nn.Module):
    """Sum of the fields' linear weights, plus a linear term of the dense inputs where there are any."""

    def __init__(self, num_dense: int, num_labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(num_dense, num_labels, bias=False) if num_dense else None

    def forward(self, weights: Tensor, dense: Tensor) -> Tensor:
        """``[B, F, T]`` linear weights, ``[B, K]`` to ``[B, T]``."""
        total = weights.sum(1)
        return total if self.dense is None else total + self.dense(dense)
