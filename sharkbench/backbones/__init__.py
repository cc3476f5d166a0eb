"""Backbones turn field vectors into logits: the settings of each are a file, its network is another.

Settings are light; networks come with torch and are imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharkbench.backbones.config import BackboneSettings, width
from sharkbench.backbones.registry import BACKBONES, BackboneConfig

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape
    from sharkbench.backbones.factory import build

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "BackboneSettings", "BackboneShape", "build", "width"]


def __getattr__(name: str) -> Any:
    if name == "build":
        from sharkbench.backbones.factory import build

        return build
    if name in ("Backbone", "BackboneShape"):
        from sharkbench.backbones import base

        return getattr(base, name)
    raise AttributeError(f"module 'sharkbench.backbones' has no attribute '{name}'")
