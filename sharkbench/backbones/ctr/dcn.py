"""Deep & Cross."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sharkbench.backbones.config import DeepSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class DCN(DeepSettings):
    """Deep & Cross (Wang et al., ADKDD 2017): rank-one cross layers beside a perceptron."""

    name: Literal["dcn"] = "dcn"

    cross_layers: int = Field(default=3, ge=1, le=64)
    """Number of cross layers."""

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.dcn import DCNBackbone

        return DCNBackbone(self, shape)
