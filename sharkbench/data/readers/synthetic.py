"""Generated click data with known ground truth.

Every value v of field f has latent numbers t_j(v) ~ N(0, 1), j = 1..4, and every field an importance w_f, sum of w = 1.
With s_j = sum_f sqrt(w_f) t_j(v_f), which is N(0, 1) for values drawn alike, the logit is

    b + a1 s_1 + a2 p / norm + a3 sqrt(2) sin(1.6 s_4),
    p = sum over pairs f < g of sqrt(w_f w_g) (t_2(v_f) t_2(v_g) + t_3(v_f) t_3(v_g)):


a linear model learns the first part, dot products of pairs (an fm) the second, and only a model with a nonlinear
network over all fields the third. Fields of importance 0 do not contribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.special import expit, logit

from sharkbench.data.readers.base import Chunk, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sharkbench.data.sources.synthetic import SyntheticSpec

CHUNK = 65_536
"""Rows generated at once; part of the ground truth, since every chunk has its own random stream."""
WAVE = 1.6
"""Angular frequency of the wave: low enough for a network to learn, too high for a line or a parabola to fit."""
SHARED = 0.8
"""Fraction of the variance of a label's value effects that all labels share."""


def planted_importances(spec: SyntheticSpec) -> np.ndarray:
    """``[F]`` float64, sums to 1: the given importances, or the default pattern with a quarter of the fields noise."""
    if spec.importances:
        weights = np.asarray(spec.importances, dtype=np.float64)
    else:
        pattern = np.array([1.0, 0.0, 0.8, 0.6, 0.9, 0.0, 0.7, 0.5])
        weights = np.resize(pattern, len(spec.cardinalities))
    return weights / weights.sum()


@dataclass(frozen=True)
class Truth:
    """The ground truth: popularity and latent numbers of every value, importance of every field."""

    cumulative: tuple[np.ndarray, ...]
    """Per field ``[n]``: cumulative probability of its values, most popular first."""
    raw: tuple[np.ndarray, ...]
    """Per field ``[n]`` int64: the raw value at each popularity rank (a permutation, so raw order is uninformative)."""
    latents: tuple[np.ndarray, ...]
    """Per field ``[T, n, 4]`` float32 by popularity rank."""
    importances: np.ndarray
    bias: np.ndarray
    """``[T]`` bias of each label's logit."""

    def logits(self, ranks: Sequence[np.ndarray], strength: tuple[float, float, float]) -> np.ndarray:
        """``[T, B]`` logits, without the bias, of rows whose field f has the value of popularity rank ``ranks[f]``."""
        sums: np.ndarray | float = 0.0
        squares: np.ndarray | float = 0.0
        for weight, latent, rank in zip(self.importances, self.latents, ranks, strict=True):
            if weight > 0:
                values = np.sqrt(weight) * latent[:, rank]  # [T, B, 4]
                sums = sums + values
                squares = squares + values[..., 1:3] ** 2
        assert isinstance(sums, np.ndarray)
        linear, pair_sum, last = sums[..., 0], sums[..., 1:3], sums[..., 3]
        pairs = (pair_sum**2 - squares).sum(-1) / (2.0 * np.sqrt(max(1.0 - (self.importances**2).sum(), 1e-9)))
        wave = np.sqrt(2.0) * np.sin(WAVE * last)
        a1, a2, a3 = strength
        return a1 * linear + a2 * pairs + a3 * wave


def draw_truth(spec: SyntheticSpec) -> Truth:
    """Draw the ground truth of a data set from its seed."""
    rng = np.random.default_rng([spec.seed, 0])
    cumulative, raw, latents = [], [], []
    for size in spec.cardinalities:
        popularity = np.arange(1, size + 1, dtype=np.float64) ** -spec.zipf
        cumulative.append(np.cumsum(popularity) / popularity.sum())
        raw.append(rng.permutation(size))
        common = rng.standard_normal((1, size, 4), dtype=np.float32)
        own = rng.standard_normal((len(spec.labels), size, 4), dtype=np.float32)
        latent = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own
        share = (popularity / popularity.sum())[:, None]
        latent -= (latent * share).sum(1, keepdims=True)
        latent /= np.sqrt((latent**2 * share).sum(1, keepdims=True))
        latents.append(latent.astype(np.float32))
    truth = Truth(tuple(cumulative), tuple(raw), tuple(latents), planted_importances(spec), np.zeros(len(spec.labels)))
    sample = truth.logits(draw_ranks(truth, 50_000, rng), spec.strength)
    return Truth(truth.cumulative, truth.raw, truth.latents, truth.importances, _bias(sample, spec.rate))


def draw_ranks(truth: Truth, rows: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Per field ``[rows]``: popularity ranks drawn by popularity."""
    return [np.searchsorted(c, rng.random(rows), side="right").clip(max=len(c) - 1) for c in truth.cumulative]


def _bias(logits: np.ndarray, rate: float) -> np.ndarray:
    """``[T]`` biases with which about ``rate`` of the rows are positive (a few Newton steps)."""
    bias = np.full(len(logits), logit(rate))
    for _ in range(20):
        chance = expit(logits + bias[:, None])
        bias -= (chance.mean(1) - rate) / (chance * (1 - chance)).mean(1)
    return bias


def bayes_ranking(chance: np.ndarray) -> float:
    """Share of (positive, negative) pairs in correct order when ranking by the true probability ``chance`` ``[n]``, on
    average over labels drawn from it."""
    chance = np.sort(chance.astype(np.float64))
    negatives_below = np.cumsum(1 - chance) - (1 - chance)
    return float((chance * negatives_below).sum() / (chance.sum() * (1 - chance).sum() - (chance * (1 - chance)).sum()))


def generate(spec: SyntheticSpec, truth: Truth) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
    """Chunks of ``(ranks per field [B], chances [T, B] float32, labels [T, B] int8)``."""
    for number, start in enumerate(range(0, spec.rows, CHUNK)):
        rng = np.random.default_rng([spec.seed, 1, number])
        rows = min(CHUNK, spec.rows - start)
        ranks = draw_ranks(truth, rows, rng)
        chance = expit(truth.logits(ranks, spec.strength) + truth.bias[:, None]).astype(np.float32)
        yield ranks, chance, (rng.random(chance.shape) < chance).astype(np.int8)


class SyntheticSource(Source):
    """Generated rows: one integer column per field (``f00``, ``f01`` ...), the labels, and ``time``, the row number."""

    def __init__(self, spec: SyntheticSpec) -> None:
        self.spec = spec
        self.truth = draw_truth(spec)
        self.names = [f"f{i:02d}" for i in range(len(spec.cardinalities))]
        self._chances: list[np.ndarray] = []

    def chunks(self) -> Iterator[Chunk]:
        self._chances = []
        start = 0
        for ranks, chance, labels in generate(self.spec, self.truth):
            self._chances.append(chance)
            columns = {n: pa.array(raw[rank]) for n, raw, rank in zip(self.names, self.truth.raw, ranks, strict=True)}
            columns |= {label.column: pa.array(y) for label, y in zip(self.spec.labels, labels, strict=True)}
            columns["time"] = pa.array(np.arange(start, start + chance.shape[1]))
            yield Chunk(
                pa.table(columns), first=start, place="synthetic", done=(start + chance.shape[1]) / self.spec.rows
            )
            start += chance.shape[1]

    def summary(self, split_of_row: np.ndarray) -> dict[str, Any]:
        """``bayes_ranking``: per label, :func:`bayes_ranking` of the true probability on the test rows;
        ``importances``: the planted importance of each field, summing to 1."""
        ends = np.cumsum([chance.shape[1] for chance in self._chances])
        of_chunk = np.split(split_of_row == 2, ends[:-1])
        chances = np.concatenate([c[:, test] for c, test in zip(self._chances, of_chunk, strict=True)], axis=1)
        importances = (float(w) for w in self.truth.importances)
        return {
            "bayes_ranking": {label.name: bayes_ranking(c) for label, c in zip(self.spec.labels, chances, strict=True)},
            "importances": dict(zip(self.names, importances, strict=True)),
        }


def synthetic_source(spec: SyntheticSpec) -> SyntheticSource:
    """The source of generated rows."""
    return SyntheticSource(spec)
