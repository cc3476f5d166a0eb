"""Logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sharkbench.backbones.base import Backbone, BackboneShape
from sharkbench.backbones.networks.layers import FirstOrder

if TYPE_CHECKING:
    from sharkbench.backbones.ctr.linear import Linear


class LinearBackbone(Backbone):
    """``logit = b + sum_f w_f + dense @ w``."""

    def __init__(self, config: Linear, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        self.first_order = FirstOrder(shape.num_dense, shape.num_labels)
        self.bias = nn.Parameter(torch.zeros(shape.num_labels))

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        return self.first_order(vectors, dense) + self.bias
