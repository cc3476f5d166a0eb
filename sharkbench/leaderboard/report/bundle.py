"""The code that draws the plots of a page in a browser: Vega-Lite and what it needs, as one script."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert

from sharkbench.files.durable import write_text
from sharkbench.leaderboard.report import charts


@cache
def bundle(kept: Path | None = None) -> str:
    """One text for each version of what it is made of.

    Args:
        kept: folder where to look for it first, and to leave it: putting it together takes seconds.
    """
    file = kept / f"vega-lite-{charts.VERSION}-{version('vl-convert-python')}.js" if kept else None
    if file is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return file.read_text(encoding="utf-8")
    made: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=charts.VERSION)
    if file is not None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, made)
    return made
