"""Generated data: what is planted is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sharkbench.data.options import Label
from sharkbench.data.prepare import prepare
from sharkbench.data.readers.synthetic import bayes_ranking, draw_truth, generate
from sharkbench.data.sources.synthetic import SyntheticSpec

SMALL = (300, 200, 50, 20, 8)


def everything(spec: SyntheticSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(ranks [n, F], chances [T, n], labels [T, n])``."""
    ranks, chances, labels = zip(*generate(spec, draw_truth(spec)), strict=True)
    return np.concatenate([np.stack(r, 1) for r in ranks]), np.concatenate(chances, 1), np.concatenate(labels, 1)


def test_same_seed_same_rows_and_more_rows_continue() -> None:
    short, long = SyntheticSpec(rows=70_000, cardinalities=SMALL), SyntheticSpec(rows=140_000, cardinalities=SMALL)
    (a, _, y), (b, _, z) = everything(short), everything(long)
    assert np.array_equal(a[:65_536], b[:65_536])
    assert np.array_equal(y[:, :65_536], z[:, :65_536])
    assert not np.array_equal(everything(short.model_copy(update={"seed": 1}))[0], a)


def test_popularity_is_zipf() -> None:
    ranks, _, _ = everything(SyntheticSpec(rows=200_000, cardinalities=(100,), importances=(1,), zipf=1.2))
    share = np.bincount(ranks[:, 0], minlength=100) / len(ranks)
    expected = np.arange(1, 101) ** -1.2
    assert np.abs(share - expected / expected.sum()).max() < 0.005


def test_labels_follow_the_chances_and_the_rate() -> None:
    labels = (Label(column="click"), Label(column="like"))
    _, chances, drawn = everything(SyntheticSpec(rows=100_000, cardinalities=SMALL, labels=labels, rate=0.2))
    assert drawn.mean(1) == pytest.approx(chances.mean(1), abs=0.005)
    assert chances.mean(1) == pytest.approx(0.2, abs=0.02)
    for chance, label in zip(chances, drawn, strict=True):
        assert bayes_ranking(chance) == pytest.approx(roc_auc_score(label, chance), abs=0.005)
    assert 0.5 < np.corrcoef(chances)[0, 1] < 0.98


def test_bayes_ranking_equals_the_pairwise_definition() -> None:
    chance = np.random.default_rng(0).random(60)
    wins = [p * (1 - q) * (p > q) for i, p in enumerate(chance) for j, q in enumerate(chance) if i != j]
    pairs = [p * (1 - q) for i, p in enumerate(chance) for j, q in enumerate(chance) if i != j]
    assert bayes_ranking(chance) == pytest.approx(sum(wins) / sum(pairs))


def test_importance_is_what_shuffling_a_field_costs() -> None:
    importances = (4.0, 0.0, 2.0, 1.0, 0.0)
    spec = SyntheticSpec(rows=30_000, cardinalities=SMALL, importances=importances)
    truth = draw_truth(spec)
    ranks, _, labels = everything(spec)
    columns = list(ranks.T)
    rng = np.random.default_rng(0)

    def auc(fields: list[np.ndarray]) -> float:
        return float(roc_auc_score(labels[0], expit(truth.logits(fields, spec.strength))[0]))

    costs = [auc(columns) - auc([*columns[:f], rng.permutation(columns[f]), *columns[f + 1 :]]) for f in range(5)]
    assert costs[1] == costs[4] == 0.0
    assert costs[0] > costs[2] > costs[3] > 0.005


def test_the_summary_tells_the_truth(tmp_path: Path) -> None:
    spec = SyntheticSpec(rows=5000, cardinalities=SMALL, importances=(0, 0, 1, 1, 2))
    data = prepare(spec, tmp_path)
    assert list(data.summary["importances"].values()) == [0, 0, 0.25, 0.25, 0.5]
    assert 0.8 < data.summary["bayes_ranking"]["click"] < 1
    assert data.summary["rows"] == {"train": 4000, "valid": 500, "test": 500}


def _one_hot_auc(train: tuple[np.ndarray, Any], test: tuple[np.ndarray, Any], cardinalities: tuple[int, ...]) -> float:
    import scipy.sparse as sp

    offsets = np.cumsum([0, *cardinalities[:-1]])

    def one_hot(ranks: np.ndarray) -> Any:
        rows, fields = ranks.shape
        at = (np.repeat(np.arange(rows), fields), (ranks + offsets).ravel())
        return sp.csr_matrix((np.ones(ranks.size), at), shape=(rows, sum(cardinalities)))

    model = LogisticRegression(C=0.3, max_iter=60).fit(one_hot(train[0]), train[1])
    return float(roc_auc_score(test[1], model.decision_function(one_hot(test[0]))))


@pytest.mark.parametrize(("strength", "low", "high"), [((1, 0, 0), 0.97, 1.01), ((1.0, 2.0, 2.5), 0.5, 0.9)])
def test_a_linear_model_learns_the_linear_part_and_not_the_rest(
    strength: tuple[float, float, float], low: float, high: float
) -> None:
    spec = SyntheticSpec(rows=30_000, cardinalities=SMALL, strength=strength)
    ranks, chances, labels = everything(spec)
    found = _one_hot_auc((ranks[:25_000], labels[0][:25_000]), (ranks[25_000:], labels[0][25_000:]), SMALL)
    assert low < found / bayes_ranking(chances[0]) < high
