"""Metrics against slow, obvious references."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from sharkbench.tasks.ctr import Ctr, metrics


def drawn(seed: int, n: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ``levels`` distinct values, zeros of both signs among them, and labels that lean with the score."""
    rng = np.random.default_rng(seed)
    scores = rng.choice(rng.normal(scale=3, size=levels).astype(np.float32), size=n)
    scores[rng.random(n) < 0.1] = 0.0
    scores[rng.random(n) < 0.1] = -0.0
    labels = (rng.random(n) < 1 / (1 + np.exp(-scores))).astype(np.float32)
    labels[:2] = (0, 1)
    return scores, labels


cases = given(seed=st.integers(0, 10_000), n=st.integers(2, 300), levels=st.sampled_from([1, 2, 10, 1000]))


@cases
@settings(max_examples=60, deadline=None)
def test_auc_counts_ties_half(seed: int, n: int, levels: int) -> None:
    scores, labels = drawn(seed, n, levels)
    assert metrics.auc(metrics.sort_scores(scores, labels)) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@cases
@settings(max_examples=40, deadline=None)
def test_grouped_auc_is_the_weighted_mean_over_mixed_groups(seed: int, n: int, levels: int) -> None:
    scores, labels = drawn(seed, n, levels)
    groups = np.random.default_rng(seed + 1).integers(max(n // 8, 1), size=n).astype(np.int32)
    weights, values = [], []
    for group in np.unique(groups):
        mine = groups == group
        if 0 < labels[mine].mean() < 1:
            weights.append(mine.sum())
            values.append(roc_auc_score(labels[mine], scores[mine]))
    result = metrics.grouped_auc(scores, labels, groups)
    if weights:
        assert result == pytest.approx(np.average(values, weights=weights), abs=1e-12)
    else:
        assert np.isnan(result)


def test_no_rows_have_no_grouped_auc() -> None:
    none = np.zeros(0)
    assert np.isnan(metrics.grouped_auc(none.astype(np.float32), none, none.astype(np.int32)))


@cases
@settings(max_examples=40, deadline=None)
def test_many_scores_are_judged_a_part_at_a_time(seed: int, n: int, levels: int) -> None:
    scores, labels = drawn(seed, n, levels)
    groups = np.random.default_rng(seed).integers(max(n // 8, 1), size=n).astype(np.int32)

    def judged() -> list[float]:
        keys = metrics.sort_scores(scores, labels)
        return [
            metrics.auc(keys),
            metrics.grouped_auc(scores, labels, groups),
            metrics.mean_log_loss(scores, labels),
            metrics.calibration_error(keys, 10),
        ]

    at_once = judged()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "PART", 7)
        in_parts = judged()
    np.testing.assert_array_equal(in_parts[:2], at_once[:2])
    np.testing.assert_allclose(in_parts[2:], at_once[2:], rtol=1e-12, atol=1e-12)


def test_memory_is_little_more_than_a_key_per_score() -> None:
    rng, n = np.random.default_rng(0), 3_000_000
    scores = rng.normal(size=(n, 1)).astype(np.float32)
    labels = (rng.random((n, 1)) < 0.3).astype(np.float32)
    tracemalloc.start()
    try:
        Ctr().quality(scores, labels, ("click",))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * n + 80 * metrics.PART < 25 * n


def test_log_loss_clips() -> None:
    scores, labels = drawn(0, 500, 100)
    p = metrics.probabilities(scores)
    assert metrics.log_loss(p, labels) == pytest.approx(log_loss(labels, p), rel=1e-9)
    wrong = metrics.log_loss(metrics.probabilities(np.array([-1000.0], dtype=np.float32)), np.ones(1))
    assert wrong == pytest.approx(-np.log(1e-7))


def test_predicting_the_base_rate_has_normalized_entropy_one_and_no_calibration_error() -> None:
    labels = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0] * 10, dtype=np.float32)
    labels.sort()  # the worst order: all positives last
    scores = np.full(100, np.log(0.2 / 0.8), dtype=np.float32)
    p = metrics.probabilities(scores)
    assert metrics.normalized_entropy(metrics.log_loss(p, labels), 0.2) == pytest.approx(1, abs=1e-6)
    assert metrics.calibration_error(metrics.sort_scores(scores, labels), 20) == pytest.approx(0, abs=1e-6)


def test_calibration_error_finds_a_shift() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=200_000).astype(np.float32)
    labels = (rng.random(len(scores)) < 1 / (1 + np.exp(-scores))).astype(np.float32)
    assert metrics.calibration_error(metrics.sort_scores(scores, labels), 20) < 0.01
    too_high = (scores + 1).astype(np.float32)
    expected = (metrics.probabilities(too_high) - metrics.probabilities(scores)).mean()
    assert metrics.calibration_error(metrics.sort_scores(too_high, labels), 20) == pytest.approx(expected, abs=0.01)


def test_calibration_error_against_bins_by_hand() -> None:
    scores, labels = drawn(3, 1000, 10_000)
    order = np.argsort(scores, kind="stable")
    distinct = np.unique(scores, return_counts=True)[1].max()
    p, y = metrics.probabilities(scores)[order], labels[order]
    by_hand = sum(abs(p[i : i + 100].sum() - y[i : i + 100].sum()) for i in range(0, 1000, 100)) / 1000
    # Runs of equal scores may move a bin's edge by their length.
    assert metrics.calibration_error(metrics.sort_scores(scores, labels), 10) == pytest.approx(
        by_hand, abs=distinct / 1000
    )


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=50))
@settings(max_examples=100, deadline=None)
def test_sortable_keeps_the_order(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    keys = metrics.sortable(scores)
    assert ((keys[:, None] < keys) == (scores[:, None] < scores)).all()
    assert keys.min() >= 0
    assert keys.max() < 2**32
