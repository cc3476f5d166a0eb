"""Parquet files, read one row group's worth at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from sharkbench.data.sources.base import Chunk, Source
from sharkbench.data.sources.csv import Parts
from sharkbench.errors import DataError

ROWS = 65_536


class ParquetSource(Source):
    """Files in order; every file has the columns of the first."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def chunks(self) -> Iterator[Chunk]:
        files = [(part, file) for part, group in self.parts for file in group]
        columns: list[str] | None = None
        for number, (part, file) in enumerate(files):
            first = 0
            try:
                with pq.ParquetFile(file) as reader:
                    found = reader.schema_arrow.names
                    if columns is not None and set(found) != set(columns):
                        other = sorted(set(found) ^ set(columns))
                        raise DataError(
                            f"{file}: its columns differ from those of the first file ({', '.join(other[:5])})"
                        )
                    columns = columns or found
                    total = max(reader.metadata.num_rows, 1)
                    for batch in reader.iter_batches(ROWS):
                        done = (number + (first + batch.num_rows) / total) / len(files)
                        yield Chunk(pa.Table.from_batches([batch]).select(columns), first, str(file), part, done)
                        first += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{file}, after row {first}: {str(error).splitlines()[0]}; the file is damaged or no Parquet file"
                ) from None
