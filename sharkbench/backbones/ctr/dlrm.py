"""DLRM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sharkbench.backbones.config import DeepSettings, Units

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class DLRM(DeepSettings):
    """DLRM (Naumov et al., 2019, arXiv:1906.00091): dot products of all pairs of fields, then a perceptron."""

    name: Literal["dlrm"] = "dlrm"

    bottom: tuple[Units, ...] = Field(default=(64,), min_length=1, max_length=64)
    """Hidden units of the bottom perceptron, which maps the dense inputs, where there are any, to one more vector."""
    self_interaction: bool = False
    """Include the dot product of each vector with itself."""

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.dlrm import DLRMBackbone

        return DLRMBackbone(self, shape)
