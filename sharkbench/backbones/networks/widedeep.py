"""Wide & Deep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharkbench.backbones.networks.dnn import DNNBackbone
from sharkbench.backbones.networks.layers import FirstOrder

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.backbones.base import BackboneShape
    from sharkbench.backbones.ctr.widedeep import WideDeep


class WideDeepBackbone(DNNBackbone):
    """Cheng et al., DLRS 2016: ``logit = sum_f w_f + MLP([e_1; ...; e_F; dense])``."""

    def __init__(self, config: WideDeep, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        self.first_order = FirstOrder(shape.num_dense, shape.num_labels)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        embeddings, weights = self.split(vectors)
        return super().forward(embeddings, dense) + self.first_order(weights, dense)
