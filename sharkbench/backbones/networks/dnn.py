"""Perceptron on the concatenated field vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sharkbench.backbones.base import Backbone, BackboneShape, columns_of
from sharkbench.backbones.networks.layers import perceptron

if TYPE_CHECKING:
    from sharkbench.backbones.config import DeepSettings


class DNNBackbone(Backbone):
    """``logit = MLP([e_1; ...; e_F; dense])``."""

    config: DeepSettings

    def __init__(self, config: DeepSettings, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        inputs = shape.num_fields * shape.dimension + shape.num_dense
        self.mlp = perceptron(inputs, config, hidden=config.hidden, outputs=shape.num_labels)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        flat = vectors.flatten(1)
        return self.mlp(torch.cat([flat, dense], dim=1) if self.shape.num_dense else flat)

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        state = dict(self.state_dict())
        state["mlp.0.weight"] = state["mlp.0.weight"][:, columns_of(keep, self.shape)]
        return state
