"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from sharkbench.data.columns import Files
from sharkbench.data.options import Label

if TYPE_CHECKING:
    from sharkbench.data.readers.base import Source


class ParquetSpec(Files):
    """Parquet files."""

    source: Literal["parquet"] = "parquet"

    @classmethod
    def example(cls, folder: Path) -> Self:
        import pyarrow as pa
        from pyarrow import parquet

        file, rows = folder / "clicks.parquet", range(60)
        table = {"user": [f"u{i % 7}" for i in rows], "hour": [i % 24 for i in rows], "click": [i % 2 for i in rows]}
        parquet.write_table(pa.table(table), file)
        return cls(path=str(file), labels=(Label(column="click"),))

    def open(self) -> Source:
        from sharkbench.data.readers.parquet import parquet_source

        return parquet_source(self)
