"""Delimited text: CSV, TSV and the like, plain or gzip, parsed by Arrow in blocks."""

from __future__ import annotations

import csv
import gzip
import zlib
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv

from sharkbench.data.readers import records
from sharkbench.data.readers.base import Chunk, FileSource, Parts, with_columns
from sharkbench.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sharkbench.data.sources.criteo import CriteoSpec
    from sharkbench.data.sources.csv import CsvSpec

BLOCKS = 8
"""Number of blocks per chunk: about 60 thousand rows of forty columns."""


class CsvSource(FileSource):
    """Text files in order; every column is read as text. ``columns`` gives their names if the files have no header.

    ``quote`` is the quote character, ``""`` for none. By default it is the double quote; in tab-separated files a
    quoted value then ends in its line.
    """

    def __init__(
        self,
        parts: Parts,
        separator: str = ",",
        header: bool = True,
        columns: Sequence[str] = (),
        quote: str | None = None,
    ) -> None:
        self.parts = parts
        self.quote = '"' if quote is None else quote
        self.within_line = quote is None and separator == "\t"
        self._doubtful: list[tuple[int, str]] = []
        self.separator = separator
        self.header = header
        self.columns = tuple(columns)
        self._names: dict[str, Path] = {str(file): file for _, files in parts for file in files}

    def chunks(self) -> Iterator[Chunk]:
        files = [(part, file) for part, group in self.parts for file in group]
        total = sum(file.stat().st_size for _, file in files) or 1
        before = 0
        columns: list[str] | None = None
        self._doubtful = []
        for part, file in files:
            found = self._columns_of(file)
            columns = columns or found
            size = file.stat().st_size
            for table, first, read in self._parse(file, found):
                yield Chunk(
                    with_columns(table, columns, str(file)), first, str(file), part, min((before + read) / total, 1.0)
                )
            before += size

    def row_name(self, place: str, row: int) -> str:
        """``FILE, line N``; finds the line by reading the file again, which happens only for an error."""
        for number, (line, _) in enumerate(self._records(self._names[place])):
            if number == row:
                return f"{place}, line {line}"
        return super().row_name(place, row)

    def remarks(self) -> list[str]:
        if not self._doubtful:
            return []
        count = sum(number for number, _ in self._doubtful)
        return [
            f"{count:,} values in quotes hold as many separators and line ends as whole rows do, the first at "
            f"{self._doubtful[0][1]}: if the quotes are text there, they have swallowed rows; set quote: none"
        ]

    def _columns_of(self, file: Path) -> list[str]:
        try:
            with _text(file) as stream:
                first = next(self._reader(stream), None)
        except (EOFError, OSError, UnicodeDecodeError, csv.Error, zlib.error) as error:
            raise self._unreadable(file, error) from None
        if not first:
            raise DataError(f"{file}: the file is empty")
        if self.header:
            names = [name.strip() for name in first]
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DataError(f"{file}, line 1: column '{twice}' is there twice; rename one, or set header: false")
            return names
        names = list(self.columns) or [f"c{i}" for i in range(len(first))]
        if len(names) != len(first):
            raise DataError(f"{file}, line 1: {len(first)} values, but columns names {len(names)}")
        return names

    def _parse(self, file: Path, columns: list[str]) -> Iterator[tuple[pa.Table, int, int]]:
        """``(rows, number of the first of them, bytes of the file read so far)``."""
        read = pacsv.ReadOptions(column_names=columns, block_size=records.BLOCK_BYTES)
        parse = pacsv.ParseOptions(delimiter=self.separator, quote_char=self.quote or False)
        # empty text stays text here: the scan decides which values are missing
        convert = pacsv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False)
        first = 0
        try:
            with pa.OSFile(str(file)) as raw:
                stream = pa.CompressedInputStream(raw, "gzip") if _is_gzip(file) else raw
                rows = records.Records(
                    stream, str(file), len(columns), self.separator, self.quote, self.within_line, self.header
                )
                with pacsv.open_csv(pa.PythonFile(rows, mode="r"), read, parse, convert) as reader:
                    while batches := list(islice(reader, BLOCKS)):
                        table = pa.Table.from_batches(batches)
                        yield table, first, raw.tell() if not raw.closed else 0
                        first += table.num_rows
                if rows.doubtful:
                    self._doubtful.append((rows.doubtful, f"{file}, line {rows.first_doubtful}"))
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            if isinstance(error, pa.ArrowInvalid) and "Empty CSV file" in str(error):
                return
            raise self._unreadable(file, error) from None

    def _unreadable(self, file: Path, error: Exception) -> DataError:
        """The error of a file that Arrow refused, with its first malformed row, found by reading the file again."""
        line = 0
        expected: int | None = None
        try:
            for line, values in self._records(file, header=True):
                expected = expected or len(values)
                if len(values) != expected:
                    return DataError(
                        f"{file}, line {line}: {len(values)} values instead of {expected}; "
                        "correct the row, or the separator"
                    )
        except EOFError:
            return DataError(
                f"{file}, after line {line}: the gzip stream ends early; the file is truncated, fetch it again"
            )
        except UnicodeDecodeError:
            return DataError(f"{file}, after line {line}: not UTF-8 text; convert the file")
        except (OSError, csv.Error, zlib.error) as failure:
            return DataError(
                f"{file}, after line {line}: {str(failure).rstrip('.')}; the file is damaged, fetch it again"
            )
        return DataError(f"{file}: {str(error).splitlines()[0]}")

    def _records(self, file: Path, header: bool = False) -> Iterator[tuple[int, list[str]]]:
        """``(line number from 1, values)`` of every row without blank lines; includes the header's line if asked."""
        with _text(file) as stream:
            reader = self._reader(stream)
            if self.header and not header:
                next(reader, None)
            for values in reader:
                if values:
                    yield reader.line_num, values

    def _reader(self, stream: IO[str]) -> Reader:
        return csv.reader(
            _lines(stream),
            delimiter=self.separator,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
        )


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def _text(file: Path) -> Iterator[IO[str]]:
    # skip a byte order mark, as Arrow does
    if _is_gzip(file):
        with gzip.open(file, "rt", newline="", encoding="utf-8-sig") as packed:
            yield packed
    else:
        with file.open(newline="", encoding="utf-8-sig") as plain:
            yield plain


def _lines(stream: IO[str]) -> Iterator[str]:
    """The lines of a file, cut at the length that Arrow would parse: a gzip file may hold a line of gigabytes."""
    while line := stream.readline(records.BLOCK_BYTES):
        if len(line) == records.BLOCK_BYTES:
            raise csv.Error(f"a line is longer than {records.BLOCK_BYTES:,} characters")
        yield line


def csv_source(spec: CsvSpec) -> CsvSource:
    """The reader of delimited text; separator and quotes come from the specification or the first file's name."""
    parts = spec.parts()
    name = parts[0][1][0].name.removesuffix(".gz")
    separator = spec.separator or ("\t" if name.endswith(".tsv") else ",")
    quote = {"": None, "none": ""}.get(spec.quote, spec.quote)
    return CsvSource(parts, separator, spec.header, spec.columns, quote)


def criteo_source(spec: CriteoSpec) -> CsvSource:
    """The reader of Criteo's ``train.txt``: no header, no quotes."""
    names = ["label", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    return CsvSource(spec.parts(), "\t", header=False, columns=names, quote="")
