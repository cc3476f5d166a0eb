"""Detects properties that weaken a data set: values unseen in training, ids unique to a row, repeated rows."""

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
"""A column is reported from this share of validation values that are unseen in training."""
SEEN = 0.5
"""Least share of training values that have an id of their own; columns that are mostly missing or rare are skipped."""
UNIQUE = 0.9
"""A column is reported from this ratio of distinct values to training values."""
MIN_VALUES = 100
"""Least number of values of a column in a split; fewer are not conclusive."""
REPEATED = 0.1
"""Repetition is reported from this share of a split's rows that also occur in training."""
CHANCE = 0.1
"""Shuffled columns may reach at most this fraction of that share: with few columns many rows are equal anyway."""
ASKED_ROWS = 100_000
"""Number of rows of a split to search for in training."""
ROWS_AT_ONCE = 65_536


def oddities(schema: Schema, splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """One sentence per oddity, each with advice."""
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
    """Rows are compared by a 64-bit hash of their inputs and labels. The share of rows that coincide by chance is
    estimated from rows with shuffled columns, each column taken from another row."""
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
    """``[n]`` 64-bit hashes of the rows, or of rows whose columns are ``mixed``."""
    total = np.zeros(len(ids), dtype=np.uint64)
    for number, part in enumerate((ids, dense, labels)):
        bits = np.ascontiguousarray(part).view(np.uint32).astype(np.uint64)
        total += (bits if mixed is None else mixed.permuted(bits, axis=0)) @ _factors(number, part.shape[1])
    return total


@cache
def _factors(number: int, columns: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(number).integers(0, 2**63, columns, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)
