"""What test rows can tell, against DeLong's formula written out, a bootstrap, and a simulation with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from sharkbench.leaderboard.resolution import Z, resolution, standard_error
from sharkbench.results.metrics import Parts
from sharkbench.tasks.ctr.blocks import auc_blocks

Floats = NDArray[np.float64]


def _two_models(rng: np.random.Generator, rows: int, noise: float = 0.3) -> tuple[Floats, Floats, Floats]:
    """Labels and the correlated scores of two models of the same AUC."""
    labels = (rng.random(rows) < 0.3).astype(np.float64)
    shared = rng.normal(size=rows) + labels
    return labels, shared + noise * rng.normal(size=rows), shared + noise * rng.normal(size=rows)


def _kernel(scores: Floats, labels: Floats) -> Floats:
    """[positives, negatives]: 1 where the positive beats the negative, a half for a tie."""
    positives, negatives = scores[labels > 0, None], scores[None, labels <= 0]
    return (positives > negatives) + 0.5 * (positives == negatives)


def _delong_error(one: Floats, two: Floats, labels: Floats) -> float:
    """DeLong's standard error of the difference, as the paper has it: covariances of the structural components."""
    kernels = [_kernel(scores, labels) for scores in (one, two)]
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    positives, negatives = kernels[0].shape
    contrast = np.array([1.0, -1.0])
    return float(np.sqrt(contrast @ (s10 / positives + s01 / negatives) @ contrast))


def test_one_block_per_row_is_delong_exactly() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([1.0] * 60 + [0.0] * 80)
    one, two = rng.normal(size=140) + labels, rng.integers(0, 5, 140) + labels  # the second has ties
    error = standard_error([auc_blocks(one, labels)], [auc_blocks(two, labels)])
    assert error == pytest.approx(_delong_error(one, two, labels), rel=1e-5)


def test_blocks_estimate_the_error_of_delong_and_of_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(12):
        labels, one, two = _two_models(rng, 2000)
        error = standard_error([auc_blocks(one, labels)], [auc_blocks(two, labels)])
        assert error is not None
        ratios.append(error / _delong_error(one, two, labels))
    # 99 degrees of freedom: each is off by 7% at one standard deviation.
    assert np.mean(ratios) == pytest.approx(1, abs=0.07)
    assert np.std(ratios) < 0.15

    kernel = _kernel(one, labels) - _kernel(two, labels)
    positives, negatives = kernel.shape
    draws = []
    for _ in range(400):
        rows = np.bincount(rng.integers(0, positives, positives), minlength=positives)
        columns = np.bincount(rng.integers(0, negatives, negatives), minlength=negatives)
        draws.append(rows @ kernel @ columns / kernel.size)
    assert error == pytest.approx(np.std(draws), rel=0.3)


def test_pairing_resolves_far_more_than_the_auc_alone() -> None:
    labels, one, two = _two_models(np.random.default_rng(2), 5000)
    own, other = auc_blocks(one, labels), auc_blocks(two, labels)
    alone, paired = standard_error([own]), standard_error([own], [other])
    assert alone is not None
    assert paired is not None
    assert paired < alone / 2


def test_the_resolution_covers_what_the_draw_of_rows_does() -> None:
    """Two models of equal true AUC seem further apart than the resolution in one test split of twenty."""
    rng = np.random.default_rng(3)
    trials, beyond, covered = 600, 0, 0
    for _ in range(trials):
        labels, one, two = _two_models(rng, 1500)
        own, other = auc_blocks(one, labels), auc_blocks(two, labels)
        smallest, alone = resolution([own], [other]), standard_error([own])
        assert smallest is not None
        assert alone is not None
        beyond += abs(np.mean(own.samples["positives"]) - np.mean(other.samples["positives"])) > smallest
        truth = norm.cdf(1 / math.sqrt(2 * (1 + 0.3**2)))
        covered += abs(np.mean(own.samples["positives"]) - truth) < Z * alone
    assert beyond / trials == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / trials))
    assert covered / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / trials))


def test_seeds_average_out_what_training_adds_but_not_the_rows() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(4000) < 0.3).astype(np.float64)
    shared = rng.normal(size=4000) + labels
    seeds = [auc_blocks(shared + 0.5 * rng.normal(size=4000), labels) for _ in range(10)]
    exact = [auc_blocks(shared, labels)]
    one, ten, rows = standard_error(seeds[:1], exact), standard_error(seeds, exact), standard_error(exact)
    assert one is not None
    assert ten is not None
    assert rows is not None
    assert ten < one
    alone = standard_error(seeds)
    assert alone is not None
    assert alone == pytest.approx(rows, rel=0.2)


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    three, two = (
        Parts(samples={"positives": (0.5, 0.6, 0.7), "negatives": (0.5, 0.6)}),
        Parts(samples={"positives": (0.5, 0.6), "negatives": (0.5, 0.6)}),
    )
    one = Parts(samples={"positives": (0.5,), "negatives": (0.5, 0.5)})
    assert standard_error([]) is None
    assert resolution([three], [two]) is None  # other rows
    assert standard_error([one]) is None
    assert standard_error([Parts(samples={"positives": (math.nan, 0.5), "negatives": (0.5, 0.5)})]) is None


def test_with_weights_the_error_is_that_of_a_weighted_auc() -> None:
    """Against a bootstrap of rows, weights and all; rows that weigh nothing do not make it look more certain."""
    rng = np.random.default_rng(5)
    labels, one, two = _two_models(rng, 2000)
    weights = rng.exponential(size=2000) ** 2
    padded = [np.concatenate([values, values]) for values in (labels, one, two)]
    nothing = np.concatenate([weights, np.zeros(2000)])
    error = standard_error([auc_blocks(one, labels, weights)], [auc_blocks(two, labels, weights)])
    again = standard_error([auc_blocks(padded[1], padded[0], nothing)], [auc_blocks(padded[2], padded[0], nothing)])
    plain = standard_error([auc_blocks(one, labels)], [auc_blocks(two, labels)])
    assert error == again
    assert error is not None
    assert plain is not None

    kernel = _kernel(one, labels) - _kernel(two, labels)
    of_positives, of_negatives = weights[labels > 0], weights[labels <= 0]
    draws = []
    for _ in range(400):
        rows = of_positives * np.bincount(rng.integers(0, len(kernel), len(kernel)), minlength=len(kernel))
        columns = of_negatives * np.bincount(
            rng.integers(0, kernel.shape[1], kernel.shape[1]), minlength=kernel.shape[1]
        )
        draws.append(rows @ kernel @ columns / rows.sum() / columns.sum())
    assert error == pytest.approx(np.std(draws), rel=0.3)
    assert error > 1.5 * plain  # such weights leave a sixth of the rows
