"""Backbones by name: those of the project, in the folders of ``$SHARKBENCH_BACKBONES``, and in other packages.

Light: the settings of the one that is asked for are imported, and no network.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from sharkbench import plugins
from sharkbench.backbones.config import BackboneSettings
from sharkbench.plugins import Plugins

BACKBONES = Plugins(plugins.BACKBONES, lambda: BackboneSettings, lambda kind: _name(kind))


def parse(entry: Any) -> BackboneSettings:
    """A backbone from what a suite says: a mapping with ``name`` and settings."""
    return entry if isinstance(entry, BackboneSettings) else BACKBONES.named(entry, "name")(**entry)


BackboneConfig = Annotated[SerializeAsAny[BackboneSettings], BeforeValidator(parse)]
"""One backbone of a suite: a mapping tagged by ``name``."""


def _name(kind: type[BackboneSettings]) -> str | None:
    """``None`` of a base that several share."""
    name = kind.model_fields["name"].default
    return name if isinstance(name, str) else None
