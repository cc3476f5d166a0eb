"""Small fields stay uncompressed: they say much and cost little. Which ones, and how many a budget allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sharkbench.data.schema import Schema


def divide(
    schema: Schema, threshold: int, fields: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Fields (all unless given) of at most ``threshold`` rows, and the larger ones: uncompressed and compressed."""
    chosen = range(schema.num_fields) if fields is None else fields
    small = tuple(f for f in chosen if schema.fields[f].cardinality <= threshold)
    return small, tuple(f for f in chosen if schema.fields[f].cardinality > threshold)


def largest_threshold(schema: Schema, nbytes: Callable[[int], int], budget: int, least: int) -> int:
    """The largest threshold of :func:`divide`, ``least`` or the rows of a field, that ``budget`` bytes allow.

    Spends what is left of a budget once all else is decided: further fields stay uncompressed, the smaller ones first.
    """
    threshold = least
    for rows in sorted(field.cardinality for field in schema.fields):
        if rows > threshold:
            if nbytes(rows) > budget:
                break
            threshold = rows
    return threshold


def count_rows(schema: Schema, fields: Sequence[int]) -> int:
    """Rows of some fields together."""
    return sum(schema.fields[f].cardinality for f in fields)
