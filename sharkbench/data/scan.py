"""First pass over the raw rows: stores every column as codes into the chunk's distinct values, in a scratch file.

Every value is parsed and hashed once. The later passes (count, encode) only touch the distinct values of each
chunk and its int32 codes, so memory is bounded by a chunk and the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from sharkbench.data.columns import Columns
from sharkbench.data.distinct import CODED, code_column, codes
from sharkbench.data.lists import is_list, mended, tokens
from sharkbench.data.options import GivenSplit, MultiValued, Numeric
from sharkbench.data.readers.base import Chunk, Source
from sharkbench.data.roles import Roles, resolve
from sharkbench.data.row_checks import PARTS, RowChecks
from sharkbench.data.spelling import Spelling, plain
from sharkbench.errors import DataError

THREADS = 2
"""Columns coded concurrently; Arrow's own threads parse the next block meanwhile."""


@dataclass(frozen=True)
class Scan:
    """Result of the first pass over ``n`` rows, in reading order."""

    scratch: Path
    roles: Roles
    labels: np.ndarray
    """``[n, T]`` uint8."""
    order: np.ndarray | None
    """``[n]`` float64, the column of a temporal split."""
    parts: np.ndarray | None
    """``[n]`` uint8: 0, 1, 2 for train, valid, test if the data is already split."""
    decimals: frozenset[str]
    """Columns with numbers only, not all of them integers."""
    spellings: Mapping[str, Spelling] = field(default_factory=dict)
    """Spellings of the columns whose values are not all in plain form yet."""
    remarks: tuple[str, ...] = ()
    """Remarks on the rows for the user, one sentence each."""
    weights: np.ndarray | None = None
    """``[n]`` float64, non-negative, if a column of sample weights is named."""

    @property
    def rows(self) -> int:
        """``n``."""
        return len(self.labels)

    def chunks(self) -> Iterator[tuple[slice, dict[str, tuple[np.ndarray, pl.Series]]]]:
        """Per chunk: its rows, and per column ``(codes [B] with -1 for missing, values)``; values may contain
        duplicates."""
        start = 0
        with pa.OSFile(str(self.scratch)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                columns = {
                    name: (codes(column), self._plain(name, pl.Series(name, column.dictionary)))
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                }
                yield slice(start, start + batch.num_rows), columns
                start += batch.num_rows

    def _plain(self, name: str, values: pl.Series) -> pl.Series:
        if name not in self.spellings:
            return values
        plain = self.spellings[name].plain
        return mended(values, plain) if isinstance(self.roles.inputs.get(name), MultiValued) else plain(values)


@dataclass
class _Rows:
    """The values of every row that are kept in memory, chunk by chunk."""

    labels: list[np.ndarray] = field(default_factory=list)
    order: list[np.ndarray] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    spellings: dict[str, Spelling] = field(default_factory=dict)
    dates: bool | None = None
    """Whether ``order`` holds dates."""
    occurring: dict[str, set[str]] = field(default_factory=dict)
    """Listed values of each label that occurred."""
    lists: set[str] = field(default_factory=set)
    """Inputs with lists that are not declared multi-valued."""

    def add(
        self, spec: Columns, roles: Roles, coded: dict[str, pa.DictionaryArray], chunk: Chunk, source: Source
    ) -> None:
        checks = RowChecks(source, chunk)
        for name, use in roles.inputs.items():
            if isinstance(use, Numeric):
                checks.numbers(coded[name], name)
            if not isinstance(use, MultiValued) and is_list(chunk.table.column(name).type):
                self.lists.add(name)
        for name, spelling in self.spellings.items():
            values = pl.Series(coded[name].dictionary, dtype=pl.String)
            spelling.look(tokens(values).explode() if isinstance(roles.inputs.get(name), MultiValued) else values)
        labels = []
        for label in spec.labels:
            checks.occurring = self.occurring.setdefault(label.name, set())
            labels.append(checks.label(coded[label.column], label))
        self.labels.append(np.stack(labels, axis=1))
        if roles.order:
            order, self.dates = checks.order(coded[roles.order], roles.order, self.dates)
            self.order.append(order)
        if roles.weight:
            self.weights.append(checks.weight(coded[roles.weight], roles.weight))
        if isinstance(spec.split, GivenSplit):
            by_column = spec.split.column
            part = checks.part(coded[by_column], spec.split) if by_column else _constant(chunk)
            self.parts.append(part)


def scan(spec: Columns, source: Source, scratch: Path, progress: Callable[[float], None]) -> Scan:
    """Read all rows once; the coded columns are written to the file ``scratch``.

    Raises:
        DataError: malformed rows, a missing column, a label that is not 0 or 1, or no rows.
    """
    kept: list[str] = []
    wanted: list[str] = []
    roles: Roles | None = None
    found = _Rows()
    missing = frozenset(getattr(spec, "missing", ()))
    with pa.OSFile(str(scratch), "wb") as file, ThreadPoolExecutor(THREADS) as pool:
        writer: pa.ipc.RecordBatchStreamWriter | None = None
        for chunk in source.chunks():
            if not chunk.table.num_rows:
                continue
            if roles is None:
                roles = resolve(spec, chunk.table.column_names, chunk.place)
                kept = list(dict.fromkeys([*roles.inputs, *([roles.group] if roles.group else [])]))
                wanted = list(dict.fromkeys([*kept, *roles.extra, *(label.column for label in spec.labels)]))
                writer = pa.ipc.new_stream(file, _schema(kept))
                found.spellings = {name: Spelling() for name in kept if not _is_numeric(roles, name)}
            arrays = [chunk.table.column(name) for name in wanted]
            uses = [roles.inputs.get(name) for name in wanted]
            coding = (pool.submit(code_column, array, use, missing) for array, use in zip(arrays, uses, strict=True))
            coded = {name: _coded(name, found, chunk) for name, found in zip(wanted, list(coding), strict=True)}
            found.add(spec, roles, coded, chunk, source)
            assert writer is not None
            writer.write_batch(pa.record_batch([coded[name] for name in kept], schema=_schema(kept)))
            progress(chunk.done)
        if writer is not None:
            writer.close()
    if roles is None:
        raise DataError(f"{spec.name}: there are no rows at all; check the files")
    decimals = frozenset(name for name, spelling in found.spellings.items() if spelling.kind == "decimal")
    return Scan(
        scratch,
        roles,
        np.concatenate(found.labels),
        np.concatenate(found.order) if found.order else None,
        np.concatenate(found.parts) if found.parts else None,
        decimals,
        {
            name: spelling
            for name, spelling in found.spellings.items()
            # numbers for buckets are compared as numbers
            if spelling.mends and (name not in decimals or roles.inputs.get(name) is not None or name == roles.group)
        },
        (*_remarks(spec, found), *source.remarks()),
        np.concatenate(found.weights) if found.weights else None,
    )


def _is_numeric(roles: Roles, name: str) -> bool:
    return isinstance(roles.inputs.get(name), Numeric) and name != roles.group


def _remarks(spec: Columns, found: _Rows) -> Iterator[str]:
    for name in sorted(found.lists):
        yield f"'{name}' holds lists, each of which is one category; list it under multivalued to use their values"
    for label in spec.labels:
        for value in (str(value) for value in label.positive or label.negative):
            if plain(value.strip()) not in found.occurring[label.name]:
                yield f"no row has the value '{value}' that label '{label.name}' lists; check how the data spells it"


def _coded(name: str, coding: Future[pa.DictionaryArray], chunk: Chunk) -> pa.DictionaryArray:
    try:
        return coding.result()
    except pa.ArrowException as error:
        kind = chunk.table.column(name).type
        raise DataError(
            f"{chunk.place}, after row {chunk.first}: column '{name}' of type {kind} cannot be read as plain values "
            f"({str(error).splitlines()[0]}); list it under ignore, or convert it"
        ) from None


def _schema(columns: list[str]) -> pa.Schema:
    return pa.schema([(name, CODED) for name in columns])


def _constant(chunk: Chunk) -> np.ndarray:
    return np.full(chunk.table.num_rows, PARTS.index(chunk.part), dtype=np.uint8)
