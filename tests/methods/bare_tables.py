"""Shapes of tables that are nothing but their sizes."""

from __future__ import annotations

from collections.abc import Sequence

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.shape import TableShape

SIZES = [25156, 6361, 5641, 6063, 1400, 300, 12, 3]
"""Rows of fields about as they are in a small data set of clicks."""


def shape_of(sizes: Sequence[int], dimension: int = 16, first_order: int = 0) -> TableShape:
    """Fields ``f0``, ``f1`` ... of so many rows."""
    schema = Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))
    return TableShape(schema, dimension, first_order)
