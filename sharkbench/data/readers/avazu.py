"""Avazu's CSV, whose ``hour`` is a full timestamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sharkbench.data.readers.base import Chunk
from sharkbench.data.readers.csv import CsvSource
from sharkbench.data.spelling import plain_numbers
from sharkbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from sharkbench.data.sources.avazu import AvazuSpec

_FULL = r"^[0-9]{8}$"


class AvazuSource(CsvSource):
    """A full ``hour`` (YYMMDDHH) becomes the hour of the day, ``weekday`` and ``time``.

    The first hour of the data decides for all rows whether hours are full; a missing hour stays missing.
    """

    def chunks(self) -> Iterator[Chunk]:
        full = self._is_full()
        for chunk in super().chunks():
            if full is None or "hour" not in chunk.table.column_names:
                yield chunk
                continue
            hours = _plain(chunk.table.column("hour"))
            wrong = (hours.is_not_null() & (hours.str.contains(_FULL) != full)).arg_true()
            day = hours.str.head(6).str.to_date("%y%m%d", strict=False) if full else None
            if day is not None and not len(wrong):
                wrong = (hours.is_not_null() & (day.is_null() | (hours.str.tail(2) > "23"))).arg_true()
            if len(wrong):
                row = int(wrong[0])
                raise DataError(
                    f"{self.row_name(chunk.place, chunk.first + row)}: column 'hour' is '{hours[row]}': "
                    + ("not YYMMDDHH, as the first hour is" if full else "not the hour of a day, as the first hour is")
                )
            table = split_hour(chunk.table, hours, day) if day is not None else chunk.table
            yield Chunk(table, chunk.first, chunk.place, chunk.part, chunk.done)

    def _is_full(self) -> bool | None:
        """Whether the first hour that is not missing is a full one; ``None`` if all are missing."""
        for chunk in super().chunks():
            if "hour" not in chunk.table.column_names:
                return None
            hours = _plain(chunk.table.column("hour")).drop_nulls()
            if len(hours):
                return bool(hours.head(1).str.contains(_FULL)[0])
        return None


def _plain(column: pa.ChunkedArray) -> pl.Series:
    text = pl.Series(column, dtype=pl.String).str.strip_chars()
    return plain_numbers(text.set(text == "", None))


def split_hour(table: pa.Table, hours: pl.Series, day: pl.Series) -> pa.Table:
    """``hour`` = 14102100 becomes ``hour`` = 00, ``weekday`` = 2 (Monday is 1) and ``time`` = 14102100."""
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.with_columns(time=hours, weekday=day.dt.weekday().cast(pl.String), hour=hours.str.tail(2)).to_arrow()


def avazu_source(spec: AvazuSpec) -> AvazuSource:
    """The reader of Avazu's ``train``."""
    return AvazuSource(spec.parts())
