"""Backbones by name: those of the project, in the folders of ``$SHARKBENCH_BACKBONES``, and in other packages.

Light: only the settings of the requested backbone are imported, and no network.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from sharkbench import plugins
from sharkbench.backbones.config import BackboneSettings
from sharkbench.plugins import Plugins

BACKBONES = Plugins(plugins.BACKBONES, lambda: BackboneSettings, lambda kind: _name(kind))


def parse(entry: Any) -> BackboneSettings:
    """A backbone from its entry in a suite: a mapping with ``name`` and settings."""
    return entry if isinstance(entry, BackboneSettings) else BACKBONES.named(entry, "name")(**entry)


BackboneConfig = Annotated[SerializeAsAny[BackboneSettings], BeforeValidator(parse)]
"""One backbone of a suite: a mapping tagged by ``name``."""


def _name(kind: type[BackboneSettings]) -> str | None:
    """Name of a backbone; ``None`` for a base class of several."""
    name = kind.model_fields["name"].default
    return name if isinstance(name, str) else None
