"""Readers: each turns its files into chunks of raw columns. ``open_source`` finds the one for a spec."""

from __future__ import annotations

from sharkbench.data.sources.base import Chunk, Source
from sharkbench.data.spec import Columns

__all__ = ["Chunk", "Source", "open_source"]


def open_source(spec: Columns) -> Source:
    """The reader of a data set.

    Raises:
        InputError: a file is missing.
    """
    from sharkbench.data import spec as specs

    if isinstance(spec, specs.SyntheticSpec):
        from sharkbench.data.synthetic import SyntheticSource

        return SyntheticSource(spec)
    raise NotImplementedError(type(spec).__name__)
