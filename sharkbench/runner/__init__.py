"""Executes a plan: one process per run; each result is stored when its run ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sharkbench.runner.local import Summary, run_suite

__all__ = ["Summary", "run_suite"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the process of a run and the command line import only what they need.
    if name in __all__:
        from sharkbench.runner import local

        return getattr(local, name)
    raise AttributeError(f"module 'sharkbench.runner' has no attribute '{name}'")
