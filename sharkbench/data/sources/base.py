"""What the encoder asks of a reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file: raw columns of any simple type (or lists of one, for multi-valued columns)."""

    table: pa.Table
    first: int
    """Number of the chunk's first row within ``place``, from 0."""
    place: str
    """File (or other place) the rows come from, as errors name it."""
    part: str = ""
    """``train``, ``valid`` or ``test`` where the source comes already split."""
    done: float = 0.0
    """Share of the whole source that has been read with this chunk, 0 to 1."""


class Source(ABC):
    """Reads the data set front to back, in chunks that fit into memory."""

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows in order. Every chunk has the same columns in the same order.

        Raises:
            DataError: a file is malformed; the message names file and row.
        """

    def row_name(self, place: str, row: int) -> str:
        """How an error names row ``row`` (from 0) of ``place``."""
        return f"{place}, row {row + 1}"

    def remarks(self) -> list[str]:
        """What a user should know of the rows once all are read, one sentence each."""
        return []

    def summary(self, split_of_row: np.ndarray) -> dict[str, Any]:
        """Facts that only the source knows, for the data set's summary; ``split_of_row`` ``[n]`` is 0, 1, 2 for train,
        valid, test."""
        return {}
