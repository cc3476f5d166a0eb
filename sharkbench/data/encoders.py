"""Encoders: turn one input column into ids or a float; fitted on the training rows alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from sharkbench.data.lists import tokens
from sharkbench.data.options import MultiValued, Numeric
from sharkbench.data.schema import PADDING, Field
from sharkbench.data.spelling import as_floats
from sharkbench.data.vocabulary import Vocabulary

FARTHEST = 1e4
"""Dense inputs are clipped at this many scales from the mean. Among n training rows no value exceeds sqrt(n)."""
ROUNDING = 1e-14
"""A standard deviation below this share of the largest value is rounding: all values are equal."""
DROWNED = 1e-6
"""Share of the scale of all rows: values that differ by less are nearly equal in float32."""
TRIMMED = (0.05, 0.01, 0.001, 0.0)
"""Shares of the rows to leave out at either end, at least one row, when examining the others."""


class Encoder(ABC):
    """Encodes the distinct text values of a column. ``counts`` (``value``, ``count``) are of the training rows."""

    how: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def encode(self, values: pl.Series) -> np.ndarray:
        """``[U + 1, slots]`` int32 local ids (or ``[U + 1, 1]`` float32) of ``values`` ``[U]``; the last row is for a
        missing value."""

    def describe(self) -> dict[str, Any]:
        """The parameters that a server needs besides the vocabulary, as JSON values."""
        return {"how": self.how}


class FieldEncoder(Encoder):
    """An encoder with a vocabulary: its column is a field of the schema."""

    slots: int = 1
    pooling: Literal["mean", "sum"] = "mean"
    vocabulary: Vocabulary

    @property
    def field(self) -> Field:
        """The field in the schema."""
        return Field(self.name, self.vocabulary.cardinality, self.slots, self.pooling)


class Categorical(FieldEncoder):
    """Every value is a category."""

    how = "categorical"

    def __init__(self, name: str, counts: pl.DataFrame, min_count: int) -> None:
        super().__init__(name)
        self.vocabulary = Vocabulary(counts, min_count)

    def encode(self, values: pl.Series) -> np.ndarray:
        return np.append(self.vocabulary.ids(values), np.int32(0))[:, None]


class Multi(FieldEncoder):
    """Several values per row; a row without values has id 0 once, unused slots hold :data:`PADDING`."""

    how = "multivalued"

    def __init__(self, name: str, counts: pl.DataFrame, min_count: int, use: MultiValued) -> None:
        super().__init__(name)
        self.slots, self.pooling, self.separator = use.slots, use.pooling, use.separator
        lists = counts.select(self._split(counts["value"]), "count")
        filled = pl.col("value").list.len().fill_null(0) > 0
        nothing = pl.DataFrame({"value": [None], "count": [lists.filter(~filled)["count"].sum()]}, schema=counts.schema)
        each = pl.concat([lists.filter(filled).explode("value"), nothing])
        self.vocabulary = Vocabulary(each.group_by("value").agg(pl.col("count").sum()), min_count)

    def _split(self, values: pl.Series) -> pl.Series:
        """Lists of at most ``slots`` values."""
        return tokens(values).list.head(self.slots)

    def encode(self, values: pl.Series) -> np.ndarray:
        lists = self._split(values)
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        ids = np.full((len(values) + 1, self.slots), PADDING, dtype=np.int32)
        flat = lists.filter(pl.Series(lengths > 0)).explode() if lengths.any() else pl.Series([], dtype=pl.String)
        rows = np.repeat(np.arange(len(values)), lengths)
        starts = np.cumsum(lengths) - lengths
        ids[rows, np.arange(len(rows)) - np.repeat(starts, lengths)] = self.vocabulary.ids(flat)
        ids[:-1][lengths == 0, 0] = 0
        ids[-1, 0] = 0
        return ids

    def describe(self) -> dict[str, Any]:
        return {"how": self.how, "separator": self.separator}


class Bucketed(FieldEncoder):
    """Numbers in buckets; the vocabulary holds the names of the buckets."""

    def __init__(self, name: str, counts: pl.DataFrame, min_count: int) -> None:
        super().__init__(name)
        buckets = counts.select(self.buckets(to_numbers(counts["value"])).alias("value"), "count")
        self.vocabulary = Vocabulary(buckets.group_by("value").agg(pl.col("count").sum()), min_count)

    @abstractmethod
    def buckets(self, numbers: np.ndarray) -> pl.Series:
        """``[U]`` names of the buckets of ``numbers``; null for NaN."""

    def encode(self, values: pl.Series) -> np.ndarray:
        return np.append(self.vocabulary.ids(self.buckets(to_numbers(values))), np.int32(0))[:, None]


class Log2(Bucketed):
    """Bucket ``floor(ln(v)^2)`` for v > 2, mirrored below -2; each integer part in between is its own bucket."""

    how = "log2"

    def buckets(self, numbers: np.ndarray) -> pl.Series:
        size = np.abs(numbers)
        large = size > 2
        level = np.where(large, np.floor(np.log(np.where(large, size, 1.0)) ** 2), np.floor(numbers))
        level = np.where(np.isnan(numbers), 0, level).astype(np.int64)
        text = pl.Series(level).cast(pl.String).to_numpy()
        prefix = np.where(large, np.where(numbers > 0, "ln(v)^2=", "-ln(-v)^2="), "")
        return pl.Series((prefix.astype(object) + text), dtype=pl.String).set(pl.Series(np.isnan(numbers)), None)


class Quantiles(Bucketed):
    """Buckets with equal numbers of training rows; ``edges`` are their inclusive upper bounds, the last has none."""

    how = "quantiles"

    def __init__(self, name: str, counts: pl.DataFrame, min_count: int, bins: int) -> None:
        numbers = to_numbers(counts["value"])
        weights = counts["count"].to_numpy()[~np.isnan(numbers)]
        numbers = numbers[~np.isnan(numbers)]
        order = np.argsort(numbers)
        reached = np.cumsum(weights[order])
        targets = reached[-1:] * np.arange(1, bins) / bins if len(reached) else np.array([])
        edges = np.unique(numbers[order][np.searchsorted(reached, targets)])
        # no bucket above the largest training value
        self.edges = edges[edges < numbers.max()] if len(numbers) else edges
        super().__init__(name, counts, min_count)

    def buckets(self, numbers: np.ndarray) -> pl.Series:
        ends = [f"{edge:.17g}" for edge in self.edges]
        between = [f"({low}, {high}]" for low, high in pairwise(ends)]
        names = [f"<={ends[0]}", *between, f">{ends[-1]}"] if ends else ["any"]
        at = np.searchsorted(self.edges, numbers)
        named = pl.Series(names).gather(at.clip(max=len(names) - 1))
        return named.set(pl.Series(np.isnan(numbers)), None)

    def describe(self) -> dict[str, Any]:
        return {"how": self.how, "edges": self.edges.tolist()}


class Dense(Encoder):
    """A float input: (v - mean) / scale, clipped at :data:`FARTHEST`; missing is 0, the mean.

    The scale is the standard deviation of the training rows, or 1 if they are all equal. If a few outliers are so large
    that all other values would be nearly equal, mean and scale are those of the others, and ``remark`` reports it.
    """

    how = "dense"

    def __init__(self, name: str, counts: pl.DataFrame) -> None:
        super().__init__(name)
        numbers = to_numbers(counts["value"])
        known = ~np.isnan(numbers)
        order = np.argsort(numbers[known])
        numbers, weights = numbers[known][order], counts["count"].to_numpy()[known][order].astype(np.float64)
        self.mean, self.scale = moments(numbers, weights)
        self.remark = ""
        for share in TRIMMED:
            left = _without_ends(weights, share)
            mean, scale = moments(numbers, left)
            if 0 < scale < DROWNED * self.scale:
                out = int((weights - left)[np.abs(numbers - mean) > FARTHEST * scale].sum())
                self.mean, self.scale = mean, scale
                self.remark = (
                    f"'{name}' has values so far out (up to {np.abs(numbers).max():.3g}, {out:,} training rows) that "
                    "its mean and scale are those of the others; correct them, or put the column into quantiles"
                )
                break
        self.scale = self.scale or 1.0

    def encode(self, values: pl.Series) -> np.ndarray:
        with np.errstate(over="ignore"):
            scaled = (to_numbers(values) - self.mean) / self.scale
        return np.append(np.nan_to_num(scaled, nan=0.0).clip(-FARTHEST, FARTHEST), 0.0).astype(np.float32)[:, None]

    def describe(self) -> dict[str, Any]:
        return {"how": self.how, "mean": self.mean, "scale": self.scale}


def moments(numbers: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation (0 if it is only rounding); finite for finite numbers."""
    numbers, weights = numbers[weights > 0], weights[weights > 0]
    if not len(numbers):
        return 0.0, 0.0
    first, total = float(numbers[0]), float(weights.sum())
    largest = float(np.abs(numbers).max())
    # in halves and in units of the largest, so that neither differences nor squares overflow
    offsets = (numbers / 2 - first / 2) / (largest or 1.0)
    mean = float((offsets * weights).sum() / total)
    scale = 2 * float(np.sqrt((weights * (offsets - mean) ** 2).sum() / total))
    return 2 * (first / 2 + mean * largest), scale * largest if scale > ROUNDING else 0.0


def _without_ends(weights: np.ndarray, share: float) -> np.ndarray:
    """``weights`` of sorted numbers without a ``share`` of the rows, at least one, at either end."""
    reached = np.cumsum(weights)
    total = reached[-1] if len(reached) else 0.0
    cut = max(1.0, np.floor(share * total))
    return np.diff(np.clip(reached, cut, max(total - cut, cut)), prepend=cut)


def to_numbers(text: pl.Series) -> np.ndarray:
    """``[U]`` float64; NaN where null, not a number or not finite."""
    numbers = as_floats(text).to_numpy().astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def fit(name: str, use: Numeric | MultiValued | str, counts: pl.DataFrame, min_count: int) -> Encoder:
    """Fit the encoder of a column with the role ``use`` on the counts of its training values."""
    if isinstance(use, MultiValued):
        return Multi(name, counts, min_count, use)
    if isinstance(use, Numeric) and use.how == "dense":
        return Dense(name, counts)
    if isinstance(use, Numeric) and use.how == "log2":
        return Log2(name, counts, min_count)
    if isinstance(use, Numeric):
        return Quantiles(name, counts, min_count, use.bins)
    return Categorical(name, counts, min_count)
