"""Perceptron on the concatenated field vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sharkbench.backbones.config import DeepSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class DNN(DeepSettings):
    """A perceptron on the concatenated vectors."""

    name: Literal["dnn"] = "dnn"

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.dnn import DNNBackbone

        return DNNBackbone(self, shape)
