"""DeepFM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sharkbench.backbones.networks.dnn import DNNBackbone
from sharkbench.backbones.networks.interaction import BiInteraction
from sharkbench.backbones.networks.layers import FirstOrder

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.backbones.base import BackboneShape
    from sharkbench.backbones.ctr.deepfm import DeepFM


class DeepFMBackbone(DNNBackbone):
    """Guo et al., IJCAI 2017: ``logit = sum_f w_f + sum_{f<g} <e_f, e_g> + MLP([e_1; ...; e_F; dense])``."""

    def __init__(self, config: DeepFM, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        self.first_order = FirstOrder(shape.num_dense, shape.num_labels)
        self.interaction = BiInteraction(shape.dimension, shape.num_labels)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        embeddings, weights = self.split(vectors)
        deep = super().forward(embeddings, dense)
        return deep + self.first_order(weights, dense) + self.interaction(embeddings)
