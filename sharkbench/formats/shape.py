"""The shape of a table: all that a method needs to solve its size from a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from sharkbench.data.schema import Schema


@dataclass(frozen=True)
class TableShape:
    """Fields and their rows, and the columns of a row: a vector, then first-order weights.

    Attributes:
        schema: fields and their rows; ``frequencies`` are those of the training split.
        dimension: dimension of a row's vector; 0 where the backbone has first-order weights only.
        first_order: number of first-order weights at a row's end, one per label where the backbone has them.
    """

    schema: Schema
    dimension: int
    first_order: int = 0

    @property
    def width(self) -> int:
        """Weights per row."""
        return self.dimension + self.first_order

    @property
    def rows(self) -> int:
        return self.schema.num_rows

    @property
    def fp32_bytes(self) -> int:
        """Bytes of the full fp32 table; budgets are fractions of it."""
        return self.rows * self.width * 4

    def with_schema(self, schema: Schema) -> Self:
        """Rows of the same kind in other fields."""
        return replace(self, schema=schema)
