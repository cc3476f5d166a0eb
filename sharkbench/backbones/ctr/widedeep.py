"""Wide & Deep."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.backbones.config import DeepSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class WideDeep(DeepSettings):
    """Wide & Deep (Cheng et al., DLRS 2016): a linear part beside a perceptron."""

    name: Literal["widedeep"] = "widedeep"

    first_order: ClassVar[bool] = True

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.widedeep import WideDeepBackbone

        return WideDeepBackbone(self, shape)
