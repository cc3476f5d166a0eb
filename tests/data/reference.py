"""The encoding once more, slow and plain, to hold the fast one against."""

from __future__ import annotations

from collections import Counter


def vocabulary(train: list[str | None], min_count: int = 1) -> list[str | None]:
    """Values by local id."""
    counts = Counter(value for value in train if value is not None)
    kept = [value for value in counts if counts[value] >= min_count]
    return [None, *sorted(kept, key=lambda value: (-counts[value], value.encode()))]


def encode(values: list[str | None], known: list[str | None]) -> list[int]:
    """Local ids."""
    ids = {value: number for number, value in enumerate(known) if number}
    return [ids.get(value, 0) if value is not None else 0 for value in values]
