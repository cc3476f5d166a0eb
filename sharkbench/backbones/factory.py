"""From a backbone's settings to the backbone."""

from __future__ import annotations

import importlib

from sharkbench.backbones.base import Backbone, BackboneShape
from sharkbench.backbones.config import BackboneSettings


def build(config: BackboneSettings, shape: BackboneShape) -> Backbone:
    """The backbone of ``backbones/<name>.py``, freshly initialised from torch's global random state."""
    module = importlib.import_module(f"sharkbench.backbones.{config.name}")
    (kind,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Backbone) and value.__module__ == module.__name__
    )
    backbone = kind(config, shape)
    backbone.reset_parameters()
    return backbone
