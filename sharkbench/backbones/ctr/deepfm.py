"""DeepFM."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.backbones.config import DeepSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class DeepFM(DeepSettings):
    """DeepFM (Guo et al., IJCAI 2017): a factorization machine beside a perceptron on the same vectors."""

    name: Literal["deepfm"] = "deepfm"

    first_order: ClassVar[bool] = True

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.deepfm import DeepFMBackbone

        return DeepFMBackbone(self, shape)
