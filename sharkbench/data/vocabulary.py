"""Distinct values, their counts and their ids."""

from __future__ import annotations

import numpy as np
import polars as pl


class Counter:
    """Counts distinct text values over many chunks; memory is proportional to the number of distinct values."""

    def __init__(self) -> None:
        self._total = pl.DataFrame(schema={"value": pl.String, "count": pl.Int64})
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._missing = 0

    def add(self, values: pl.Series, counts: np.ndarray, missing: int = 0) -> None:
        """Add ``counts`` ``[U]`` of ``values`` ``[U]``; null values count as missing, and ``missing`` adds to these."""
        self._missing += missing
        counts = counts.astype(np.int64)
        if not (there := counts > 0).all():
            values, counts = values.filter(pl.Series(there)), counts[there]
        frame = pl.DataFrame({"value": values, "count": counts})
        self._pending.append(frame)
        self._pending_rows += frame.height
        # merging when as much is pending as is merged keeps the work linear and the memory within a factor of two
        if self._pending_rows > max(1_000_000, self._total.height):
            self._merge()

    def _merge(self) -> None:
        frames = pl.concat([self._total, *self._pending])
        self._total = frames.group_by("value").agg(pl.col("count").sum())
        self._pending, self._pending_rows = [], 0

    def table(self) -> pl.DataFrame:
        """``value`` (null is missing) and ``count``, every value once, in no order."""
        if self._missing:
            self._pending.append(pl.DataFrame({"value": [None], "count": [self._missing]}, schema=self._total.schema))
            self._missing = 0
        self._merge()
        return self._total


class Vocabulary:
    """The ids of a field: 0 for unseen, missing and rare values, then values by decreasing count, ties in text order.

    ``counts`` has columns ``value`` and ``count``; ``frequencies`` ``[cardinality]`` int64 is the number of occurrences
    of each id.
    """

    def __init__(self, counts: pl.DataFrame, min_count: int) -> None:
        kept = counts.filter(pl.col("value").is_not_null() & (pl.col("count") >= min_count))
        kept = kept.sort(["count", "value"], descending=[True, False])
        self.values: pl.Series = kept["value"]
        other = int(counts["count"].sum()) - int(kept["count"].sum())
        self.frequencies = np.concatenate([[other], kept["count"].to_numpy()]).astype(np.int64)
        # Values are looked up by sorted 64-bit hashes: compact, and vectorised unlike a dict. Two of ten million
        # values share a hash with probability 3e-6.
        hashes = self.values.hash().to_numpy()
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    @property
    def cardinality(self) -> int:
        """Number of ids, id 0 included."""
        return len(self.frequencies)

    def ids(self, values: pl.Series) -> np.ndarray:
        """``[U]`` int32 ids of text values; 0 where unseen or null."""
        if not len(self._hashes):
            return np.zeros(len(values), dtype=np.int32)
        hashes = values.hash().to_numpy()
        # queries in sorted order read the table sequentially
        order = np.argsort(hashes)
        at = np.empty(len(hashes), dtype=np.int64)
        at[order] = np.searchsorted(self._hashes, hashes[order])
        at = at.clip(max=len(self._hashes) - 1)
        known = (self._hashes[at] == hashes) & values.is_not_null().to_numpy()
        return np.where(known, self._order[at] + 1, 0).astype(np.int32)
