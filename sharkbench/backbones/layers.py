"""Layers that several backbones share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

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
            layers.append(nn.Dropout(config.dropout))
        inputs = units
    if outputs is not None:
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


class FirstOrder(nn.Module):
    """Sum of the fields' linear weights, plus a linear term of the dense inputs where there are any."""

    def __init__(self, num_dense: int, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.dense = nn.Linear(num_dense, num_labels, bias=False) if num_dense else None

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        """``[B, F, D + T]``, ``[B, K]`` to ``[B, T]``."""
        total = vectors[..., vectors.shape[-1] - self.num_labels :].sum(1)
        return total if self.dense is None else total + self.dense(dense)
