"""Checks the first rows of a data set as preparation would read them, for plans."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sharkbench.data.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sharkbench.data.readers.base import Chunk, Source


def check_first_rows(spec: Columns) -> None:
    """Read the first chunk of each split (about 16 MiB of text) as preparation will, and write nothing.

    Data that would have to be downloaded or generated first is not checked.

    Raises:
        DataError: preparation would refuse these rows: a missing column, a duplicate name, a ragged row, a label that
            is not 0 or 1.
        InputError: a file is missing.
    """
    if not spec.files():
        return
    from sharkbench.data.scan import scan

    with TemporaryDirectory() as folder:
        scan(spec, _first_rows(spec.open()), Path(folder) / "scan.arrow", lambda done: None)


def _first_rows(whole: Source) -> Source:
    from sharkbench.data.readers.base import Source

    class FirstRows(Source):
        def chunks(self) -> Iterator[Chunk]:
            return whole.first_chunks()

        def row_name(self, place: str, row: int) -> str:
            return whole.row_name(place, row)

    return FirstRows()
