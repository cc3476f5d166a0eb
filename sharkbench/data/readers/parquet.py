"""Parquet files, read some ten thousand rows at a time, fewer if rows are long.

A few bytes of a file may decode to gigabytes: one long text that every row repeats, one number a billion times. So
texts stay dictionary codes as in the file, and the size of a batch is computed from the metadata before it is read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sharkbench.data.readers.base import Chunk, FileSource, Parts, with_columns
from sharkbench.data.readers.records import BLOCK_BYTES
from sharkbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sharkbench.data.sources.parquet import ParquetSpec

ROWS = 65_536
BYTES = 128 << 20
"""Average decoded size in bytes of the rows read at once."""
LISTED = 1 << 25
"""Largest number of values of a list column in one row group: any number of them may belong to one row."""


class ParquetSource(FileSource):
    """Files in order; every file has the columns of the first."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def chunks(self) -> Iterator[Chunk]:
        files = [(part, file) for part, group in self.parts for file in group]
        columns: list[str] | None = None
        for number, (part, file) in enumerate(files):
            first = 0
            try:
                with _opened(file) as reader:
                    found = _names(file, reader)
                    columns = columns or found
                    total = max(reader.metadata.num_rows, 1)
                    for batch in _batches(reader, _rows_at_once(file, reader.metadata)):
                        for piece in _pieces(batch, f"{file}, after row {first}"):
                            done = (number + (first + piece.num_rows) / total) / len(files)
                            table = pa.Table.from_batches([piece]).rename_columns(found)
                            yield Chunk(with_columns(table, columns, str(file)), first, str(file), part, done)
                            first += piece.num_rows
            except (pa.ArrowException, OSError) as error:
                said = str(error).splitlines()[0]
                what = "the file is damaged or no Parquet file"
                if "lists to be of size" in said:
                    what = "lists of one size cannot be null; write them as lists of any size"
                raise DataError(f"{file}, after row {first}: {said}; {what}") from None


def _names(file: Path, reader: pq.ParquetFile) -> list[str]:
    """Column names without blanks around them, as in text files."""
    names = [name.strip() for name in reader.schema_arrow.names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file}: column '{twice}' is there twice; rename one in the file")
    return names


def _opened(file: Path) -> pq.ParquetFile:
    """Open a file with all text columns as dictionaries."""
    with pq.ParquetFile(file) as reader:
        columns = map(reader.schema.column, range(len(reader.schema)))
        texts = [c.path for c in columns if c.physical_type == "BYTE_ARRAY" and c.logical_type.type != "DECIMAL"]
        return pq.ParquetFile(file, read_dictionary=texts, metadata=reader.metadata)


def _batches(reader: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of ``rows`` rows. Lists of text are read by row group: Arrow cannot join their dictionaries."""
    columns = map(reader.schema.column, range(len(reader.schema)))
    if any(column.max_repetition_level and column.physical_type == "BYTE_ARRAY" for column in columns):
        for group in range(reader.metadata.num_row_groups):
            yield from reader.iter_batches(rows, row_groups=[group])
    else:
        yield from reader.iter_batches(rows)


def _rows_at_once(file: Path, metadata: pq.FileMetaData) -> int:
    """Rows per batch: at most :data:`ROWS`, and at most :data:`BYTES` in the row group with the longest rows."""
    rows = ROWS
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        size = 1
        for number in range(group.num_columns):
            column, about = group.column(number), metadata.schema.column(number)
            if about.max_repetition_level and column.num_values > LISTED:
                raise DataError(
                    f"{file}: a row group holds {column.num_values:,} values of '{about.path}', more than {LISTED:,}; "
                    "write smaller row groups"
                )
            size += max(column.total_uncompressed_size, column.num_values * max(about.length or 0, 8))
        if group.num_rows > 0:
            rows = min(rows, BYTES * group.num_rows // size)
    return max(rows, 1)


def _pieces(batch: pa.RecordBatch, place: str) -> Iterator[pa.RecordBatch]:
    """Pieces of consecutive rows whose lists, as text, take at most :data:`BYTES` plus one row."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        lengths = _list_lengths(column) if _is_list(column.type) else _text_lengths(column)
        if lengths.max(initial=0) > BLOCK_BYTES:
            raise DataError(f"{place}: a value of column '{name}' is longer than {BLOCK_BYTES:,} bytes; shorten it")
        if _is_list(column.type):
            sizes += lengths
    starts = np.flatnonzero(np.diff(np.cumsum(sizes) // BYTES, prepend=-1))
    for start, end in pairwise([*starts.tolist(), batch.num_rows]):
        yield batch.slice(start, end - start)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _text_lengths(column: pa.Array) -> np.ndarray:
    """``[distinct]`` lengths in bytes; empty if the column is not text."""
    if not pa.types.is_dictionary(column.type) or pa.types.is_primitive(column.type.value_type):
        return np.zeros(0, dtype=np.int64)
    return pc.binary_length(column.dictionary).fill_null(0).to_numpy(zero_copy_only=False)


def _list_lengths(column: pa.Array) -> np.ndarray:
    """``[rows]`` bytes of each row's values with separators; 8 per value that is not text."""
    values, lengths = column.flatten(), pc.list_value_length(column).fill_null(0)
    each = np.full(len(values), 8, dtype=np.int64)
    if len(own := _text_lengths(values)):
        each = np.append(own, 0)[values.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)] + 1
    reached = np.concatenate([[0], np.cumsum(each)])
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False))
    return np.diff(reached[ends], prepend=0)


def parquet_source(spec: ParquetSpec) -> ParquetSource:
    """Parquet files."""
    return ParquetSource(spec.parts())
