"""Backbones turn field vectors into logits: one file each, named like the backbone, with one subclass of ``Backbone``.

``config`` is light; everything else comes with torch and is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sharkbench.backbones.config import BackboneConfig, width

if TYPE_CHECKING:
    from sharkbench.backbones.base import Backbone, BackboneShape
    from sharkbench.backbones.factory import build

__all__ = ["Backbone", "BackboneConfig", "BackboneShape", "build", "width"]


def __getattr__(name: str) -> Any:
    if name == "build":
        from sharkbench.backbones.factory import build

        return build
    if name in ("Backbone", "BackboneShape"):
        from sharkbench.backbones import base

        return getattr(base, name)
    raise AttributeError(f"module 'sharkbench.backbones' has no attribute '{name}'")
