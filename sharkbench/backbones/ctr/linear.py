"""Logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.backbones.config import BackboneSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class Linear(BackboneSettings):
    """Logistic regression: first-order weights only. A reference, not a backbone with embeddings."""

    name: Literal["linear"] = "linear"

    first_order: ClassVar[bool] = True
    vectors: ClassVar[bool] = False

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.linear import LinearBackbone

        return LinearBackbone(self, shape)
