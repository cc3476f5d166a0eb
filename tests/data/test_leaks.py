"""Suspicions about large splits come from blocks of their rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sharkbench.data import leaks
from sharkbench.data.samples import Split


def test_of_a_large_split_blocks_from_its_start_to_its_end_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MAX_ROWS", 400)
    monkeypatch.setattr(leaks, "BLOCK_ROWS", 10)
    rows = torch.arange(10_000, dtype=torch.int32)
    split = Split(rows[:, None], torch.zeros(10_000, 0), (rows[:, None] % 2).float(), None)
    ids, dense, labels = leaks.rows_of(split)
    assert (len(ids), dense.shape, len(labels)) == (400, (400, 0), 400)
    assert (labels == ids % 2).all(), "columns stay together"
    assert (ids[0, 0], ids[-1, 0]) == (0, 9999)
    starts = ids.reshape(40, 10)[:, 0]
    assert (np.diff(ids.reshape(40, 10), axis=1) == 1).all()
    assert np.ptp(np.diff(starts)) <= 1, "evenly drawn"


def test_a_small_split_is_looked_at_as_a_whole() -> None:
    rows = torch.arange(50, dtype=torch.int32)
    ids, _, _ = leaks.rows_of(Split(rows[:, None], torch.zeros(50, 0), torch.zeros(50, 1), None))
    assert ids[:, 0].tolist() == list(range(50))
