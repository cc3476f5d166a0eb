"""How one input column becomes ids or a float, fitted on the training rows alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from sharkbench.data.options import MultiValued, Numeric
from sharkbench.data.schema import PADDING, Field
from sharkbench.data.vocabulary import Vocabulary


class Encoder(ABC):
    """Maps the distinct text values of a column. ``counts`` (``value``, ``count``) are those of the training rows."""

    how: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def encode(self, values: pl.Series) -> np.ndarray:
        """``[U + 1, slots]`` int32 local ids (or ``[U + 1, 1]`` float32) of ``values`` ``[U]``; the last row is that
        of a missing value."""

    def describe(self) -> dict[str, Any]:
        """What a server needs besides the vocabulary, as JSON values."""
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
    """Several values per row; rows without any hold id 0 once, slots left over hold :data:`PADDING`."""

    how = "multivalued"

    def __init__(self, name: str, counts: pl.DataFrame, min_count: int, use: MultiValued) -> None:
        super().__init__(name)
        self.slots, self.pooling, self.separator = use.slots, use.pooling, use.separator
        lists = counts.select(self._split(counts["value"]), "count")
        filled = pl.col("value").list.len().fill_null(0) > 0
        nothing = pl.DataFrame({"value": [None], "count": [lists.filter(~filled)["count"].sum()]}, schema=counts.schema)
        tokens = pl.concat([lists.filter(filled).explode("value"), nothing])
        self.vocabulary = Vocabulary(tokens.group_by("value").agg(pl.col("count").sum()), min_count)

    def _split(self, values: pl.Series) -> pl.Series:
        """Lists of at most ``slots`` values without surrounding blanks, empty ones left out."""
        frame = pl.DataFrame({"value": values})
        each = pl.element().str.strip_chars()
        parts = pl.col("value").str.split(self.separator).list.eval(each.filter(each != ""))
        return frame.select(parts.list.head(self.slots))["value"]

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
    """Numbers put into buckets; the vocabulary holds the buckets' names."""

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
    """``floor(ln(v)^2)`` for v > 2, mirrored below -2; whole parts in between are buckets of their own."""

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
    """Buckets with equally many training rows each; ``edges`` are their inclusive upper ends, the last has none."""

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
    """A float input: (v - mean) / standard deviation of the training rows; missing is 0, the mean."""

    how = "dense"

    def __init__(self, name: str, counts: pl.DataFrame) -> None:
        super().__init__(name)
        numbers = to_numbers(counts["value"])
        known = ~np.isnan(numbers)
        weights = counts["count"].to_numpy()[known].astype(np.float64)
        total = max(weights.sum(), 1.0)
        self.mean = float((numbers[known] * weights).sum() / total)
        variance = float((weights * (numbers[known] - self.mean) ** 2).sum() / total)
        self.scale = float(np.sqrt(variance)) or 1.0

    def encode(self, values: pl.Series) -> np.ndarray:
        scaled = (to_numbers(values) - self.mean) / self.scale
        return np.append(np.nan_to_num(scaled, nan=0.0), 0.0).astype(np.float32)[:, None]

    def describe(self) -> dict[str, Any]:
        return {"how": self.how, "mean": self.mean, "scale": self.scale}


def to_numbers(text: pl.Series) -> np.ndarray:
    """``[U]`` float64; NaN where null, not a number or not finite."""
    numbers = text.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def fit(name: str, use: Numeric | MultiValued | str, counts: pl.DataFrame, min_count: int) -> Encoder:
    """The encoder of a column that is used as ``use``, from the counts of its training values."""
    if isinstance(use, MultiValued):
        return Multi(name, counts, min_count, use)
    if isinstance(use, Numeric) and use.how == "dense":
        return Dense(name, counts)
    if isinstance(use, Numeric) and use.how == "log2":
        return Log2(name, counts, min_count)
    if isinstance(use, Numeric):
        return Quantiles(name, counts, min_count, use.bins)
    return Categorical(name, counts, min_count)
