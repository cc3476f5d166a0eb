"""Switches Python's cyclic garbage collector off for a while."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Context without the cyclic garbage collector, for reading thousands of records and for commands that do nothing
    else. Records have no reference cycles, and repeated collections would take as long as reading them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.freeze()
            gc.enable()
