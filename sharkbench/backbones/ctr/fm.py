"""Factorization machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.backbones.config import BackboneSettings

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape


class FM(BackboneSettings):
    """Factorization machine (Rendle, ICDM 2010)."""

    name: Literal["fm"] = "fm"

    first_order: ClassVar[bool] = True

    def build(self, shape: BackboneShape) -> Backbone:
        from sharkbench.backbones.networks.fm import FMBackbone

        return FMBackbone(self, shape)
