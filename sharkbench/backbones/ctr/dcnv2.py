"""DCN-V2, parallel form with full matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sharkbench.backbones.config import DeepSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class DCNv2(DeepSettings):
    """DCN-V2 (Wang et al., WWW 2021): full-matrix cross layers in parallel with a perceptron."""

    name: Literal["dcnv2"] = "dcnv2"

    cross_layers: int = Field(default=3, ge=1, le=64)
    """Number of cross layers."""

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.dcnv2 import DCNv2Backbone

        return DCNv2Backbone(self, shape)
