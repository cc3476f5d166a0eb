"""Which rows are train, valid and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharkbench.data.options import Label, RandomSplit, TemporalSplit
from sharkbench.data.roles import Roles
from sharkbench.data.scan import Scan
from sharkbench.data.sources.parquet import ParquetSpec
from sharkbench.data.splits import assign


def scanned(rows: int, order: np.ndarray | None = None) -> Scan:
    labels = (np.arange(rows)[:, None] % 2).astype(np.uint8)
    return Scan(Path(), Roles({}, "", "", ""), labels, order, None, frozenset())


def spec(split: RandomSplit | TemporalSplit) -> ParquetSpec:
    return ParquetSpec(path="x", labels=(Label(column="y"),), split=split)


def test_random_split_has_exact_sizes_and_follows_its_seed() -> None:
    parts = [assign(spec(RandomSplit(fractions=(0.6, 0.3, 0.1), seed=s)), scanned(1000)) for s in (0, 0, 1)]
    assert np.bincount(parts[0]).tolist() == [600, 300, 100]
    assert np.array_equal(parts[0], parts[1])
    assert not np.array_equal(parts[0], parts[2])


@given(st.integers(0, 10_000), st.integers(30, 300))
def test_temporal_split_is_strictly_in_order(seed: int, distinct: int) -> None:
    order = np.random.default_rng(seed).integers(0, distinct, 2000).astype(float)
    parts = assign(spec(TemporalSplit(column="t")), scanned(2000, order))
    for part in (0, 1):
        assert order[parts == part].max() < order[parts == part + 1].min()
    largest_tie = np.unique(order, return_counts=True)[1].max()
    assert abs((parts == 0).sum() - 1600) <= largest_tie
    assert abs((parts == 2).sum() - 200) <= largest_tie
