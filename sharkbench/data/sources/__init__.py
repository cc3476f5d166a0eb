"""Readers: each turns its files into chunks of raw columns. A specification names its reader."""

from __future__ import annotations

import importlib
from typing import cast

from sharkbench.data.columns import Columns
from sharkbench.data.sources.base import Chunk, Source

__all__ = ["Chunk", "Source", "open_source"]


def open_source(spec: Columns) -> Source:
    """What :attr:`~sharkbench.data.columns.Columns.reader` makes of the specification.

    Raises:
        InputError: a file is missing.
        DataError: a feature table is malformed, or the hub cannot be reached.
    """
    module, _, function = spec.reader.partition(":")
    return cast(Source, getattr(importlib.import_module(module), function)(spec))
