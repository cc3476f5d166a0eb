"""Layers of one part, and the full table, as tests of layers want them."""

from __future__ import annotations

from sharkbench.data.schema import Schema
from sharkbench.tables.parts import Part, Table
from sharkbench.tables.rows import Rows


def table_of(*parts: Part, sparse: bool = False) -> Table:
    """Parts as one layer, as wide as the first."""
    made = Table(parts[0].schema, parts[0].width, parts)
    made.use_sparse_gradients(sparse)
    return made


def full(schema: Schema, width: int, init_std: float = 1.0, *, sparse: bool = False) -> Table:
    """A row per id of every field, from N(0, init_std)."""
    return table_of(Rows.initial(schema, range(schema.num_fields), width, init_std), sparse=sparse)
