"""What makes prepared data say less than it seems to: values that no model can know, rows that are there twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sharkbench.data.leaks import rows_of, same_rows
from sharkbench.data.mapped import leave
from sharkbench.data.samples import Split, SplitName
from sharkbench.data.schema import Schema

UNSEEN = 0.99
"""Share of validation values that training has not seen, from which on a column is named."""
SEEN = 0.5
"""Share of training values that are known: a column that is mostly missing or rare is another matter."""
UNIQUE = 0.9
"""Distinct values per training value, from which on a column is named."""
MIN_VALUES = 100
"""Of a column in a split: fewer say nothing."""
REPEATED = 0.1
"""Share of a split's rows that stand in training too, from which on it is told."""
CHANCE = 0.1
"""Of that share, at most, may rows of shuffled columns have: with few columns many rows are alike."""
ASKED_ROWS = 100_000
"""Of a split that are looked for in training."""
ROWS_AT_ONCE = 65_536


def oddities(schema: Schema, splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """One sentence per oddity, each with what to do."""
    yield from _unknown_values(schema, splits["valid"])
    yield from _repeated_rows(splits)


def _unknown_values(schema: Schema, valid: Split) -> Iterator[str]:
    assert schema.frequencies is not None
    ids = rows_of(valid)[0]
    for number, field in enumerate(schema.fields):
        first, end = (int(offset) for offset in schema.offsets[number : number + 2])
        frequencies = schema.frequencies[first:end]
        known, values = int(frequencies[1:].sum()), int(frequencies.sum())
        asked = ids[:, schema.slot_fields == number]
        asked = asked[asked >= 0]
        unseen = float((asked == first).mean()) if len(asked) else 0.0
        share = f"{(end - first) / schema.num_rows:.0%} of all ids"
        if min(len(asked), values) < MIN_VALUES or known < SEEN * values:
            continue
        if unseen >= UNSEEN:
            none = "no value" if unseen == 1.0 else f"only {1 - unseen:.1%} of the values"
            yield (
                f"{none} of '{field.name}' in validation is known from training ({share}); list it under ignore, or "
                "look how the files spell it"
            )
        elif (end - first - 1) >= UNIQUE * known:
            yield (
                f"'{field.name}' has {end - first - 1:,} different values in {known:,} training values ({share}): a "
                "time or a row number is no category; list it under ignore, or under numeric"
            )


def _repeated_rows(splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """Rows are told apart by 64 bits of their inputs and labels. What rows of few columns have in common by chance is
    seen from rows put together anew, each column from a row of its own."""
    train = splits["train"]
    asked: dict[str, tuple[NDArray[np.uint64], NDArray[np.uint64]]] = {}
    for name in ("valid", "test"):
        if not same_rows(train, splits[name]):
            ids, dense, labels = rows_of(splits[name], ASKED_ROWS)
            mixed = np.random.default_rng(0)
            asked[name] = _hashes(ids, dense, labels), _hashes(ids, dense, labels, mixed)
    wanted = np.sort(np.concatenate([np.zeros(0, np.uint64), *(each for pair in asked.values() for each in pair)]))
    if not len(wanted):
        return
    found = np.zeros(len(wanted), dtype=bool)
    for start in range(0, len(train), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = train.ids[rows], train.dense[rows], train.labels[rows]
        hashes = np.sort(_hashes(block[0].numpy(), block[1].numpy(), block[2].numpy()))
        at = np.searchsorted(wanted, hashes).clip(max=len(wanted) - 1)
        found[at[wanted[at] == hashes]] = True
        if train.mapped:
            leave(*(part for part in block if part.numel()))
    for name, pair in asked.items():
        share, chance = (float(found[np.searchsorted(wanted, asked_for)].mean()) for asked_for in pair)
        if share >= REPEATED and chance <= CHANCE * share:
            yield (
                f"{share:.0%} of the {name} rows stand in training as well, inputs and labels alike "
                f"({chance:.1%} by chance); look for rows that the files hold twice"
            )


def _hashes(
    ids: NDArray[np.int32],
    dense: NDArray[np.float32],
    labels: NDArray[np.float32],
    mixed: np.random.Generator | None = None,
) -> NDArray[np.uint64]:
    """``[n]`` 64 bits of each row, or of rows whose columns are ``mixed``."""
    total = np.zeros(len(ids), dtype=np.uint64)
    for number, part in enumerate((ids, dense, labels)):
        bits = np.ascontiguousarray(part).view(np.uint32).astype(np.uint64)
        total += (bits if mixed is None else mixed.permuted(bits, axis=0)) @ _factors(number, part.shape[1])
    return total


@cache
def _factors(number: int, columns: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(number).integers(0, 2**63, columns, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)
