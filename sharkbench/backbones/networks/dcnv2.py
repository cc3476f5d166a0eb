"""DCN-V2, parallel form with full matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharkbench.backbones.base import BackboneShape, columns_of
from sharkbench.backbones.networks.cross import CrossBackbone, MatrixCross

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.backbones.ctr.dcnv2 import DCNv2


class DCNv2Backbone(CrossBackbone):
    """Wang et al., WWW 2021: full-matrix cross layers, ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``, beside an MLP."""

    cross: MatrixCross

    def __init__(self, config: DCNv2, shape: BackboneShape) -> None:
        inputs = shape.num_fields * shape.dimension + shape.num_dense
        super().__init__(config, shape, MatrixCross(inputs, config.cross_layers))

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        state = super().state_without(keep)
        columns = columns_of(keep, self.shape)
        # A zero vector stays zero through every layer, so its rows and columns have no effect.
        for i in range(len(self.cross.layers)):
            state[f"cross.layers.{i}.weight"] = state[f"cross.layers.{i}.weight"][columns][:, columns]
            state[f"cross.layers.{i}.bias"] = state[f"cross.layers.{i}.bias"][columns]
        return state
