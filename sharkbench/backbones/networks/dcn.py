"""Deep & Cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sharkbench.backbones.base import BackboneShape, columns_of
from sharkbench.backbones.networks.cross import CrossBackbone, RankOneCross

if TYPE_CHECKING:
    from sharkbench.backbones.ctr.dcn import DCN


class DCNBackbone(CrossBackbone):
    """Wang et al., ADKDD 2017: rank-one cross layers, ``x_{l+1} = x_0 (w_l . x_l) + b_l + x_l``, beside an MLP."""

    cross: RankOneCross

    def __init__(self, config: DCN, shape: BackboneShape) -> None:
        inputs = shape.num_fields * shape.dimension + shape.num_dense
        super().__init__(config, shape, RankOneCross(inputs, config.cross_layers))

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        state = super().state_without(keep)
        columns = columns_of(keep, self.shape)
        weight, bias = self.cross.weight.detach(), self.cross.bias.detach()
        state["cross.weight"], state["cross.bias"] = weight[:, columns], bias[:, columns]
        # In the columns of a field with a zero vector, x_l is the sum of the biases below layer l.
        dropped = torch.ones(weight.shape[1], dtype=torch.bool)
        dropped[columns] = False
        left_behind = torch.cat([torch.zeros(1, weight.shape[1]).to(bias), bias.cumsum(0)])[:, dropped]
        state["cross.carried"] = self.cross.carried + (weight[:, dropped] * left_behind[:-1]).sum(1)
        into_head = self.head.weight.detach()[:, : weight.shape[1]][:, dropped]
        state["head.bias"] = self.head.bias.detach() + into_head @ left_behind[-1]
        return state
