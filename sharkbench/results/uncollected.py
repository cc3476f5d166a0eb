"""Python's collector of circular garbage, out of the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """For reading thousands of records, and for commands that do nothing else: none refers back to itself, and to look
    for that over and over takes as long as reading, now and with every table that is made of them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.freeze()
            gc.enable()
