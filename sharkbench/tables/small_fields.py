"""Small fields stay uncompressed, since they are informative and take few bytes: which fields these are."""

from __future__ import annotations

from collections.abc import Sequence

from sharkbench.data.schema import Schema


def divide(
    schema: Schema, threshold: int, fields: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fields (of all unless given) of at most ``threshold`` rows, uncompressed, and the larger ones, compressed."""
    chosen = range(schema.num_fields) if fields is None else fields
    small = tuple(f for f in chosen if schema.fields[f].cardinality <= threshold)
    return small, tuple(f for f in chosen if schema.fields[f].cardinality > threshold)


def count_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Number of rows of some fields together."""
    return sum(schema.fields[f].cardinality for f in fields)
