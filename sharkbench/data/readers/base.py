"""The interface of readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sharkbench.data.roles import INDEX
from sharkbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file: raw columns of any simple type (or lists of one, for multi-valued columns)."""

    table: pa.Table
    first: int
    """Number of the chunk's first row within ``place``, from 0."""
    place: str
    """File (or other origin) of the rows, as error messages name it."""
    part: str = ""
    """``train``, ``valid`` or ``test`` if the source is already split."""
    done: float = 0.0
    """Fraction of the whole source read up to the end of this chunk, 0 to 1."""


class Source(ABC):
    """Reads the data set front to back, in chunks that fit into memory."""

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows in order. Every chunk has the same columns in the same order.

        Raises:
            DataError: a file is malformed; the message names file and row.
        """

    def first_chunks(self) -> Iterator[Chunk]:
        """The first chunk of each part of the data (of all data if it has no parts); nothing else is read."""
        return islice(self.chunks(), 1)

    def row_name(self, place: str, row: int) -> str:
        """Name of row ``row`` (from 0) of ``place`` in error messages."""
        return f"{place}, row {row + 1}"

    def remarks(self) -> list[str]:
        """Remarks on the rows for the user, one sentence each, once all rows are read."""
        return []

    def summary(self, split_of_row: np.ndarray) -> dict[str, Any]:
        """Facts known only to the source, for the data set's summary; ``split_of_row`` ``[n]`` is 0, 1, 2 for train,
        valid, test."""
        return {}


Parts = Sequence[tuple[str, Sequence[Path]]]
"""``(split name or "", files)`` in reading order."""


class FileSource(Source):
    """A reader of files."""

    parts: Parts

    def first_chunks(self) -> Iterator[Chunk]:
        parts = self.parts
        columns: list[str] | None = None
        try:
            for part, files in parts:
                self.parts = [(part, files[:1])]
                for chunk in islice(self.chunks(), 1):
                    columns = columns or chunk.table.column_names
                    yield Chunk(with_columns(chunk.table, columns, chunk.place), chunk.first, chunk.place, chunk.part)
        finally:
            self.parts = parts


def with_columns(table: pa.Table, columns: Sequence[str], place: str) -> pa.Table:
    """``table`` with the columns of the first file, in their order; pandas' index columns are optional.

    Raises:
        DataError: ``table`` has other columns.
    """
    differing = set(table.column_names) ^ set(columns)
    if other := sorted(name for name in differing if not INDEX.fullmatch(name)):
        raise DataError(f"{place}: its columns differ from those of the first file ({', '.join(other[:5])})")
    for name in differing & set(columns):
        table = table.append_column(name, pa.nulls(table.num_rows))
    return table.select(columns)
