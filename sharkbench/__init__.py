"""sharkbench: a declarative benchmark of methods that compress the embedding tables of recommendation models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sharkbench.api import load, run

__all__ = ["__version__", "load", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy, so that `import sharkbench` and `sharkbench --help` stay light.
    if name in ("load", "run"):
        from sharkbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'sharkbench' has no attribute '{name}'")
