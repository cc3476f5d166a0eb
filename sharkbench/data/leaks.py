"""Detects leaks: an input that determines the label, and splits that consist of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from sharkbench.data.samples import Split, SplitName
from sharkbench.data.schema import Schema

SUSPICIOUS = 0.98
"""An input is suspicious if it alone orders this share of (positive, negative) pairs correctly, on rows that it was
not learned from."""
MAX_ROWS = 1_000_000
"""Rows of a split to examine, in uniformly drawn blocks of neighbours: only their parts of the mapped file are read."""
BLOCK_ROWS = 1_000


def leaks(schema: Schema, splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """One sentence per suspected leak, each with advice."""
    yield from _same_rows(splits)
    train, valid = (rows_of(splits[name]) for name in ("train", "valid"))
    for t, label in enumerate(schema.labels):
        for name, right in _single_inputs(schema, train, valid, t):
            if right >= SUSPICIOUS:
                yield (
                    f"'{name}' alone predicts label '{label}': on validation it orders {right:.2%} of the pairs of a "
                    "positive and a negative row right; if it is known only after the label, list it under ignore"
                )


def _same_rows(splits: Mapping[SplitName, Split]) -> Iterator[str]:
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if same_rows(splits[first], splits[second]):
                yield f"the {first} and the {second} split hold the same rows; check the files that they come from"


def same_rows(a: Split, b: Split) -> bool:
    """Whether two splits consist of the same rows in the same order."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(_parts(a), _parts(b), strict=True))


def _parts(split: Split) -> tuple[torch.Tensor, ...]:
    return split.ids, split.dense, split.labels


def rows_of(
    split: Split, most: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Ids, dense inputs and labels of at most ``most`` rows (:data:`MAX_ROWS`)."""
    most = most or MAX_ROWS
    parts = _parts(split)
    if len(split) > most:
        starts = np.linspace(0, len(split) - BLOCK_ROWS, most // BLOCK_ROWS).astype(np.int64)
        rows = torch.from_numpy((starts[:, None] + np.arange(BLOCK_ROWS)).ravel())
        parts = tuple(part[rows] for part in parts)
    ids, dense, labels = (part.numpy() for part in parts)
    return ids, dense, labels


def _single_inputs(
    schema: Schema, train: tuple[NDArray, ...], valid: tuple[NDArray, ...], label: int
) -> Iterator[tuple[str, float]]:
    """Each input's name and how well it alone ranks the rows: by the label's rate of its id, or by its number."""
    truth, target = valid[2][:, label], train[2][:, label]
    for slot, field in enumerate(schema.slot_fields):
        first, end = (int(offset) for offset in schema.offsets[field : field + 2])
        # Padding, an id below those of every field, counts as the field's first id.
        known, asked = (np.clip(part[0][:, slot] - first, 0, end - first - 1) for part in (train, valid))
        rows = np.bincount(known, minlength=end - first)
        rate = target.mean()
        # Add one sample of the base rate, so that rates of rare ids stay near the base rate.
        rates = (np.bincount(known, target, end - first) + rate) / (rows + 1)
        yield schema.fields[field].name, _ordered_right(rates[asked], truth)
    for k, name in enumerate(schema.dense):
        right = _ordered_right(valid[1][:, k], truth)
        yield name, max(right, 1 - right)


def _ordered_right(scores: NDArray, labels: NDArray) -> float:
    """Share of (positive, negative) pairs in which the positive scores higher. Ties count half; 0.5 if a class is
    absent."""
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, labels)
    negative = np.bincount(place) - positive
    pairs = positive.sum() * negative.sum()
    return float((positive * (np.cumsum(negative) - negative / 2)).sum() / pairs) if pairs else 0.5
