"""Metrics and loss of weighted samples, against scikit-learn and against samples that are there several times."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from sharkbench.errors import DataError
from sharkbench.tasks.ctr import Ctr, metrics, weighted

cases = given(seed=st.integers(0, 10_000), n=st.integers(4, 300), levels=st.sampled_from([1, 2, 10, 1000]))


def drawn(seed: int, n: int, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Scores with ``levels`` distinct values, labels, weights over six orders of magnitude, some of them 0."""
    rng = np.random.default_rng(seed)
    scores = rng.choice(rng.normal(scale=3, size=levels).astype(np.float32), size=n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-scores))).astype(np.float32)
    weights = 10 ** rng.uniform(-3, 3, n) * (rng.random(n) < 0.8)
    labels[:2], weights[:2] = (0, 1), 1
    return scores, labels, weights, rng


@cases
@example(seed=10, n=8, levels=10).via("its sums end a last bit above 1")
@settings(max_examples=60, deadline=None)
def test_auc_and_log_loss_are_those_of_scikit_learn(seed: int, n: int, levels: int) -> None:
    scores, labels, weights, _ = drawn(seed, n, levels)
    p = metrics.probabilities(scores)
    found = Ctr().quality(scores[:, None], labels[:, None], ("click",), weights=weights)["click"]
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    expected = log_loss(labels, np.clip(p, 1e-7, 1 - 1e-7), sample_weight=weights)
    assert found["logloss"] == pytest.approx(expected, rel=1e-9)
    rate = np.full(n, np.average(labels, weights=weights))
    of_rate = log_loss(labels, rate, sample_weight=weights)
    assert found["normalized_entropy"] == pytest.approx(expected / of_rate, rel=1e-9)


@cases
@settings(max_examples=40, deadline=None)
def test_grouped_auc_is_the_weighted_mean_of_scikit_learns(seed: int, n: int, levels: int) -> None:
    scores, labels, weights, rng = drawn(seed, n, levels)
    groups = rng.integers(max(n // 8, 1), size=n).astype(np.int32)
    weights *= 10.0 ** (-6 * (groups % 3))  # groups that weigh next to nothing beside their neighbours
    values, masses = [], []
    for group in np.unique(groups):
        mine = (groups == group) & (weights > 0)
        if 0 < labels[mine].sum() < mine.sum():
            masses.append(weights[mine].sum())
            values.append(roc_auc_score(labels[mine], scores[mine], sample_weight=weights[mine]))
    result = weighted.grouped_auc(scores, labels, groups, weights)
    if values:
        assert result == pytest.approx(np.average(values, weights=masses), abs=1e-12)
    else:
        assert np.isnan(result)


def test_a_small_group_is_as_exact_as_a_large_one() -> None:
    scores, labels = np.array([0, 1, 0, 1, 1], dtype=np.float32), np.array([0, 1, 0, 1, 0])
    weights = np.array([1e9, 1.0, 1e-9, 1.0, 3e-9])
    # Group 1: its positive beats a negative of weight 1 and ties with one of weight 3 (in billionths).
    result = weighted.grouped_auc(scores, labels, np.array([0, 0, 1, 1, 1]), weights)
    assert result == pytest.approx((1.0 * (1e9 + 1) + 0.625 * (1 + 4e-9)) / (1e9 + 2 + 4e-9), abs=1e-15)
    alone = weighted.grouped_auc(scores[2:], labels[2:], np.zeros(3, dtype=np.int32), weights[2:])
    assert alone == pytest.approx(0.625, abs=1e-15)


def by_hand(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, bins: int) -> float:
    """Calibration error of samples that are there as often as their weight says."""
    order = np.repeat(np.argsort(scores, kind="stable"), weights[np.argsort(scores, kind="stable")])
    edges = scores[order[np.arange(bins) * len(order) // bins]]
    of_bin = np.searchsorted(np.unique(edges), scores[order], side="right")
    gaps = labels[order] - metrics.probabilities(scores[order])
    return float(sum(abs(gaps[of_bin == b].sum()) for b in np.unique(of_bin)) / len(order))


@cases
@settings(max_examples=40, deadline=None)
def test_a_sample_of_weight_k_is_k_samples(seed: int, n: int, levels: int) -> None:
    scores, labels, _, rng = drawn(seed, n, levels)
    times = rng.integers(0, 4, n)
    times[:2] = 1
    groups = rng.integers(max(n // 8, 1), size=n).astype(np.int32)

    def judged(rows: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
        return Ctr().quality(scores[rows, None], labels[rows, None], ("click",), groups[rows], weights)["click"]

    there = np.arange(n)
    expected = judged(np.repeat(there, times), None)
    assert judged(there, times.astype(np.float64)) == pytest.approx(expected)
    # In any unit: what is stored are weights whose mean is one.
    in_units = judged(there, (times / 8).astype(np.float32))
    assert in_units == pytest.approx(expected)
    assert expected["ece"] == pytest.approx(by_hand(scores, labels, times, 20))


def test_many_scores_are_judged_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels, weights, _ = drawn(0, 300, 1000)
    weights[:14] = 0  # two parts that weigh nothing
    at_once = metrics.mean_log_loss(scores, labels, weights)
    monkeypatch.setattr(metrics, "PART", 7)
    assert metrics.mean_log_loss(scores, labels, weights) == pytest.approx(at_once, rel=1e-12)


def test_a_class_that_weighs_nothing_is_refused() -> None:
    scores, labels = np.zeros((4, 1), dtype=np.float32), np.array([[0], [1], [1], [1]], dtype=np.float32)
    with pytest.raises(DataError, match="'click' is 1 in all 4 rows that weigh anything of a split"):
        Ctr().quality(scores, labels, ("click",), weights=np.array([0.0, 1, 1, 1]))


def test_loss_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(50, 2))).float().requires_grad_()
    labels = torch.from_numpy(rng.random((50, 2)) < 0.3).float()
    weight = torch.from_numpy(rng.integers(0, 3, 50) / 4).float()
    found = Ctr().loss(logits, labels, weight)
    p = torch.sigmoid(logits).detach().double().numpy()
    expected = np.mean([log_loss(labels[:, t], p[:, t], sample_weight=weight) for t in range(2)])
    assert found.item() == pytest.approx(expected, rel=1e-5)
    (slope,) = torch.autograd.grad(found, logits)
    repeated = torch.repeat_interleave(logits.detach(), (4 * weight).long(), 0).requires_grad_()
    plain = Ctr().loss(repeated, torch.repeat_interleave(labels, (4 * weight).long(), 0), None)
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)
    (one_each,) = torch.autograd.grad(plain, repeated)
    sums = torch.zeros_like(logits).index_add(
        0, torch.repeat_interleave(torch.arange(50), (4 * weight).long()), one_each
    )
    torch.testing.assert_close(slope, sums)


@pytest.mark.parametrize("weight", [0.0, 1e-40])
def test_a_batch_that_weighs_next_to_nothing_has_a_finite_loss(weight: float) -> None:
    logits = torch.tensor([[2.0], [-1.0]], requires_grad=True)
    found = Ctr().loss(logits, torch.tensor([[0.0], [1.0]]), torch.full((2,), weight))
    (slope,) = torch.autograd.grad(found, logits)
    plain = Ctr().loss(logits, torch.tensor([[0.0], [1.0]]), None)
    assert found.item() == pytest.approx(plain.item() if weight else 0.0, rel=1e-3)
    assert torch.isfinite(slope).all()
    assert bool((slope == 0).all()) == (weight == 0)
