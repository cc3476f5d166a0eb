"""Small fields stay uncompressed: they say much and cost little. Which ones those are."""

from __future__ import annotations

from collections.abc import Sequence

from sharkbench.data.schema import Schema


def divide(
    schema: Schema, threshold: int, fields: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fields (all unless given) of at most ``threshold`` rows, and the larger ones: uncompressed and compressed."""
    chosen = range(schema.num_fields) if fields is None else fields
    small = tuple(f for f in chosen if schema.fields[f].cardinality <= threshold)
    return small, tuple(f for f in chosen if schema.fields[f].cardinality > threshold)


def count_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Rows of some fields together."""
    return sum(schema.fields[f].cardinality for f in fields)
