"""Assigns rows to train, valid and test."""

from __future__ import annotations

import numpy as np

from sharkbench.data.columns import Columns
from sharkbench.data.options import GivenSplit, RandomSplit
from sharkbench.data.row_checks import PARTS
from sharkbench.data.scan import Scan
from sharkbench.errors import DataError


def assign(spec: Columns, scan: Scan) -> np.ndarray:
    """``[n]`` uint8: 0, 1, 2 for train, valid, test.

    Raises:
        DataError: a split is empty or has total weight 0, or a label has only one class in a split.
    """
    split = spec.split
    if isinstance(split, RandomSplit):
        parts = _at_random(scan.rows, split.fractions, split.seed)
    elif isinstance(split, GivenSplit):
        assert scan.parts is not None
        parts = scan.parts.copy()
        if split.valid is None:
            train = np.flatnonzero(parts == 0)
            parts[train] = _at_random(len(train), (1 - split.valid_fraction, split.valid_fraction, 0.0), split.seed)
    else:
        assert scan.order is not None
        parts = _by_order(scan.order, split.fractions)
    _check(spec, scan, parts)
    return parts


def _at_random(rows: int, fractions: tuple[float, float, float], seed: int) -> np.ndarray:
    parts = np.zeros(rows, dtype=np.uint8)
    train, valid = round(rows * fractions[0]), round(rows * (fractions[0] + fractions[1]))
    parts[train:valid] = 1
    parts[valid:] = 2
    np.random.default_rng(seed).shuffle(parts)
    return parts


def _by_order(order: np.ndarray, fractions: tuple[float, float, float]) -> np.ndarray:
    """Cut at the fractions; rows at the time of a cut go to the later split, so train lies strictly before."""
    ranked = np.sort(order)
    cuts = [
        ranked[min(round(len(order) * share), len(order) - 1)] for share in (fractions[0], fractions[0] + fractions[1])
    ]
    return (order >= cuts[0]).astype(np.uint8) + (order >= cuts[1]).astype(np.uint8)


def _check(spec: Columns, scan: Scan, parts: np.ndarray) -> None:
    for part, name in enumerate(PARTS):
        labels = scan.labels[parts == part]
        if not len(labels):
            raise DataError(
                f"{spec.name}: the {name} split is empty ({scan.rows:,} rows in all); "
                "give it a larger share, or check the column or file that it comes from"
            )
        if scan.weights is not None:
            labels = labels[scan.weights[parts == part] > 0]
            if not len(labels):
                raise DataError(
                    f"{spec.name}: weight '{spec.weight}' is 0 in all rows of the {name} split, so nothing can be "
                    "learned or judged; choose another split or weight"
                )
        which = "rows" if scan.weights is None else "rows that weigh anything"
        for label, rate in zip(spec.labels, labels.mean(axis=0), strict=True):
            if rate in (0.0, 1.0):
                raise DataError(
                    f"{spec.name}: label '{label.name}' is {int(rate)} in all {len(labels):,} {which} of the {name} "
                    "split, so nothing can be learned or judged; choose another split or label"
                )
