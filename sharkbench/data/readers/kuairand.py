"""KuaiRand-Pure as published: a log of exposures, a table of users and a table of videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from sharkbench.data.readers.base import Chunk
from sharkbench.data.readers.csv import CsvSource
from sharkbench.data.readers.parquet import ParquetSource
from sharkbench.data.spelling import plain_numbers
from sharkbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sharkbench.data.sources.kuairand import KuaiRandSpec


class KuaiRandSource(CsvSource):
    """The logs in name order; each row is joined with the features of its user and video, its hour of day and weekday.

    The columns are those of the merged Parquet file (and the log's other feedback, which is never an input).
    """

    def __init__(self, logs: Sequence[Path], users: Path, videos: Path) -> None:
        super().__init__([("", logs)])
        self.users, self.videos = _features(users, "user_id"), _features(videos, "video_id")

    def chunks(self) -> Iterator[Chunk]:
        for chunk in super().chunks():
            log = pl.DataFrame(pl.from_arrow(chunk.table))
            missing = {"user_id", "video_id", "date", "hourmin"} - set(log.columns)
            if missing:
                raise DataError(f"{chunk.place}: column '{min(missing)}' is missing; a log of KuaiRand-Pure has it")
            day = pl.col("date").str.to_date("%Y%m%d", strict=False)
            clock = pl.col("hourmin").cast(pl.Int64, strict=False)
            log = log.with_columns(plain_numbers(log[key]) for key in ("user_id", "video_id"))
            log = log.with_columns(hour=clock // 100, weekday=day.dt.weekday() - 1)
            joined = log.join(self.users, on="user_id", how="left", maintain_order="left").join(
                self.videos, on="video_id", how="left", maintain_order="left"
            )
            yield Chunk(joined.to_arrow(), chunk.first, chunk.place, chunk.part, chunk.done)


def _features(file: Path, key: str) -> pl.DataFrame:
    """A feature table, one row per ``key`` (as text, like in the log)."""
    source = CsvSource([("", [file])])
    table = pl.DataFrame(pl.from_arrow(pa.concat_tables([chunk.table for chunk in source.chunks()])))
    if key not in table.columns:
        raise DataError(f"{file}: column '{key}' is missing")
    table = table.with_columns(plain_numbers(table[key]))
    twice = table[key].is_duplicated()
    if twice.any():
        row = int(twice.arg_true()[0])
        raise DataError(f"{source.row_name(str(file), row)}: {key} '{table[key][row]}' is there more than once")
    return table


def kuairand_source(spec: KuaiRandSpec) -> KuaiRandSource | ParquetSource:
    """The reader of the official folder, or of the Parquet file into which the three tables are merged."""
    files = spec.files()
    return KuaiRandSource(files[:-2], files[-2], files[-1]) if len(files) > 1 else ParquetSource([("", files)])
