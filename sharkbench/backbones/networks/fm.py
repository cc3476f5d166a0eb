"""Factorization machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sharkbench.backbones.base import Backbone, BackboneShape
from sharkbench.backbones.networks.interaction import BiInteraction
from sharkbench.backbones.networks.layers import FirstOrder

if TYPE_CHECKING:
    from sharkbench.backbones.ctr.fm import FM


class FMBackbone(Backbone):
    """Rendle, ICDM 2010: ``logit = b + sum_f w_f + sum_{f<g} <e_f, e_g>``."""

    def __init__(self, config: FM, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        self.first_order = FirstOrder(shape.num_dense, shape.num_labels)
        self.interaction = BiInteraction(shape.dimension, shape.num_labels)
        self.bias = nn.Parameter(torch.zeros(shape.num_labels))

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        embeddings, weights = self.split(vectors)
        return self.first_order(weights, dense) + self.interaction(embeddings) + self.bias
