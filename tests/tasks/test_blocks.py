"""The parts of an AUC add up to it, and their rows do not depend on the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sharkbench.tasks.ctr import Ctr, metrics
from sharkbench.tasks.ctr.blocks import MAX_BLOCKS, auc_blocks


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 700), st.integers(1, 50))
def test_blocks_add_up_to_the_auc(seed: int, rows: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    labels[:2] = 0, 1
    scores = rng.integers(0, values, rows).astype(np.float32)  # few values: many ties
    blocks = auc_blocks(scores, labels)
    expected = roc_auc_score(labels, scores)
    for means, count in (
        (blocks.samples["positives"], labels.sum()),
        (blocks.samples["negatives"], rows - labels.sum()),
    ):
        assert len(means) == min(MAX_BLOCKS, count)
        sizes = np.bincount(np.arange(count) % len(means))
        assert np.average(means, weights=sizes) == pytest.approx(expected, abs=1e-7)


def test_a_row_contributes_to_the_same_block_whatever_it_scores() -> None:
    labels = np.array([1, 0] * 300)
    scores = np.zeros(600, dtype=np.float32)
    before = auc_blocks(scores, labels)
    scores[2 * 105] = 1  # the positive row 105 now beats every negative
    after = auc_blocks(scores, labels)
    changed = np.flatnonzero(np.subtract(after.samples["positives"], before.samples["positives"]))
    assert changed.tolist() == [105 % MAX_BLOCKS]
    assert after.samples["positives"][5] == pytest.approx(0.5 + 0.5 / 3)


def test_many_rows_are_worked_out_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=1000).astype(np.float32), rng.integers(0, 2, 1000)
    at_once = auc_blocks(scores, labels)
    monkeypatch.setattr(metrics, "PART", 130)
    assert auc_blocks(scores, labels) == at_once


def test_each_label_gets_its_own_blocks() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 2)).astype(np.float32), rng.integers(0, 2, (200, 2))
    found = Ctr().parts_by_label(scores, labels.astype(np.float32), ("a", "b"))
    assert [found[name] for name in "ab"] == [{"auc": auc_blocks(scores[:, t], labels[:, t])} for t in (0, 1)]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(4, 700), st.integers(1, 50))
def test_weighted_blocks_have_the_weighted_auc_as_their_mean(seed: int, rows: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    labels, weights = rng.integers(0, 2, rows), rng.exponential(size=rows) * rng.integers(0, 2, rows)
    labels[:2], weights[:2] = (0, 1), 1
    scores = rng.integers(0, values, rows).astype(np.float32)
    blocks = auc_blocks(scores, labels, weights)
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    for means, side in ((blocks.samples["positives"], labels == 1), (blocks.samples["negatives"], labels == 0)):
        assert len(means) == min(MAX_BLOCKS, (side & (weights > 0)).sum())
        assert np.mean(means) == pytest.approx(expected, abs=1e-7)


def test_equal_weights_give_the_blocks_of_no_weights() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=700).astype(np.float32), np.repeat([0, 1], [400, 300])
    plain, weighted = auc_blocks(scores, labels), auc_blocks(scores, labels, np.full(700, 2.5))
    assert weighted.samples["positives"] == pytest.approx(plain.samples["positives"], abs=2e-8)
    assert weighted.samples["negatives"] == pytest.approx(plain.samples["negatives"], abs=2e-8)
