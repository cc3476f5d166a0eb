"""From a backbone's settings to the backbone."""

from __future__ import annotations

from sharkbench.backbones.base import Backbone, BackboneShape
from sharkbench.backbones.config import BackboneSettings


def build(config: BackboneSettings, shape: BackboneShape) -> Backbone:
    """The backbone of these settings, initialised from torch's global random state."""
    backbone = config.build(shape)
    backbone.reset_parameters()
    return backbone
