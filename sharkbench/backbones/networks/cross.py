"""Cross layers, and the backbone that DCN and DCN-V2 share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sharkbench.backbones.base import Backbone, BackboneShape, columns_of
from sharkbench.backbones.networks.layers import perceptron

if TYPE_CHECKING:
    from sharkbench.backbones.config import DeepSettings


class RankOneCross(nn.Module):
    """``x_{l+1} = x_0 (w_l . x_l + c_l) + b_l + x_l`` (Wang et al., ADKDD 2017); ``[B, n]`` to ``[B, n]``.

    ``c_l`` is zero and not trained; after a field is dropped it holds the field's constant contribution.
    """

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, inputs))
        self.bias = nn.Parameter(torch.zeros(layers, inputs))
        self.register_buffer("carried", torch.zeros(layers))
        self.carried: Tensor
        for row in self.weight.data:  # each row is the weight of a linear layer with one output
            nn.init.xavier_normal_(row[None])

    def forward(self, x0: Tensor) -> Tensor:
        x = x0
        for w, b, c in zip(self.weight, self.bias, self.carried, strict=True):
            x = x0 * (x @ w + c)[:, None] + b + x
        return x


class MatrixCross(nn.Module):
    """``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`` (Wang et al., WWW 2021); ``[B, n]`` to ``[B, n]``."""

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, inputs) for _ in range(layers))

    def forward(self, x0: Tensor) -> Tensor:
        x = x0
        for layer in self.layers:
            x = x0 * layer(x) + x
        return x


class CrossBackbone(Backbone):
    """``logit = head([cross(x); MLP(x)])`` with ``x = [e_1; ...; e_F; dense]``: both parts in parallel.

    Args:
        config, shape: as for every backbone.
        cross: the cross part, ``[B, F D + K]`` to the same shape.
    """

    def __init__(self, config: DeepSettings, shape: BackboneShape, cross: nn.Module) -> None:
        super().__init__(config, shape)
        inputs = shape.num_fields * shape.dimension + shape.num_dense
        self.cross = cross
        self.mlp = perceptron(inputs, config, hidden=config.hidden, outputs=None)
        self.head = nn.Linear(inputs + config.hidden[-1], shape.num_labels)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        x = vectors.flatten(1)
        if self.shape.num_dense:
            x = torch.cat([x, dense], dim=1)
        return self.head(torch.cat([self.cross(x), self.mlp(x)], dim=1))

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        state = super().state_without(keep)
        columns = columns_of(keep, self.shape)
        inputs = self.shape.num_fields * self.shape.dimension + self.shape.num_dense
        deep = torch.arange(inputs, self.head.in_features)
        state["mlp.0.weight"] = state["mlp.0.weight"][:, columns]
        state["head.weight"] = state["head.weight"][:, torch.cat([columns, deep])]
        return state
