"""First pass over the raw rows: every column becomes codes and the chunk's distinct values, kept in a scratch file.

Parsing and hashing every value happens once. The later passes (count, encode) only touch the distinct values of each
chunk and its int32 codes, so memory is bounded by a chunk and the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from sharkbench.data.options import Label, MultiValued, Numeric
from sharkbench.data.roles import Roles, resolve
from sharkbench.data.sources.base import Chunk, Source
from sharkbench.data.spec import Columns
from sharkbench.errors import DataError

PARTS = ("train", "valid", "test")
KINDS = ("whole", "decimal", "text")
"""What a column's values look like; a column is the last that any of its chunks is."""
CODED = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Scan:
    """What the first pass found. Rows are in reading order, ``n`` of them."""

    scratch: Path
    roles: Roles
    labels: np.ndarray
    """``[n, T]`` uint8."""
    order: np.ndarray | None
    """``[n]`` float64, the column of a temporal split."""
    parts: np.ndarray | None
    """``[n]`` uint8, 0, 1, 2 for train, valid, test where the data comes split."""

    decimals: frozenset[str]
    """Columns that hold numbers only, not all of them whole."""

    @property
    def rows(self) -> int:
        return len(self.labels)

    def chunks(self) -> Iterator[tuple[slice, dict[str, tuple[np.ndarray, pl.Series]]]]:
        """Per chunk: its rows, and per column ``(codes [B] with -1 for missing, distinct values)``."""
        start = 0
        with pa.OSFile(str(self.scratch)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                columns = {}
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                    columns[name] = codes, pl.Series(name, column.dictionary)
                yield slice(start, start + batch.num_rows), columns
                start += batch.num_rows


def scan(spec: Columns, source: Source, scratch: Path, progress: Callable[[float], None]) -> Scan:
    """Read everything once.

    Raises:
        DataError: malformed rows, a missing column, a label that is not 0 or 1, no rows at all.
    """
    roles: Roles | None = None
    labels: list[np.ndarray] = []
    order: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    kinds: dict[str, str] = {}
    missing = frozenset(getattr(spec, "missing", ()))
    writer = None
    with pa.OSFile(str(scratch), "wb") as file, ThreadPoolExecutor(2) as pool:
        for chunk in source.chunks():
            if roles is None:
                roles = resolve(spec, chunk.table.column_names, chunk.place)
                kept = list(dict.fromkeys([*roles.inputs, *([roles.group] if roles.group else [])]))
                wanted = list(dict.fromkeys([*kept, *roles.extra, *(label.column for label in spec.labels)]))
                schema = pa.schema([(name, CODED) for name in kept])
                writer = pa.ipc.new_stream(file, schema)
            if not chunk.table.num_rows:
                continue
            arrays = [chunk.table.column(name) for name in wanted]
            uses = [roles.inputs.get(name) for name in wanted]
            coded = dict(zip(wanted, pool.map(code_column, arrays, uses, repeat(missing)), strict=True))
            for name, use in roles.inputs.items():
                if isinstance(use, Numeric):
                    _check_numbers(coded[name], name, use, chunk, source)
                elif use is None and kinds.get(name) != "text":
                    kinds[name] = max(kinds.get(name, "whole"), _kind(coded[name]), key=KINDS.index)
            assert writer is not None
            writer.write_batch(pa.record_batch([coded[name] for name in kept], schema=schema))
            labels.append(
                np.stack([_binary(coded[label.column], label, chunk, source) for label in spec.labels], axis=1)
            )
            if roles.order:
                order.append(_order(coded[roles.order], roles.order, chunk, source))
            if roles.split:
                parts.append(_part_column(coded[roles.split], spec, chunk, source))
            elif chunk.part:
                parts.append(np.full(chunk.table.num_rows, PARTS.index(chunk.part), dtype=np.uint8))
            progress(chunk.done)
        if writer is not None:
            writer.close()
    if roles is None or not labels:
        raise DataError(f"{spec.name}: there are no rows at all; check the files")
    return Scan(
        scratch,
        roles,
        np.concatenate(labels),
        np.concatenate(order) if order else None,
        np.concatenate(parts) if parts else None,
        frozenset(name for name, kind in kinds.items() if kind == "decimal"),
    )


def code_column(
    column: pa.ChunkedArray, use: object = None, missing: frozenset[str] = frozenset()
) -> pa.DictionaryArray:
    """Any column as int32 codes into distinct strings; missing values (null, empty, NaN, any of ``missing``) are null.

    Whole floats read like integers (``2.0`` is ``2``), booleans like 0 and 1, and blanks around text do not count, so that the
    same data gives the same values from CSV and from Parquet. Lists are joined by the separator of ``use``.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        separator = use.separator if isinstance(use, MultiValued) else ","
        array = pc.binary_join(array.cast(pa.list_(pa.string())), separator)
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    coded = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), _text(coded.dictionary, missing))


def _text(values: pa.Array, missing: frozenset[str]) -> pa.Array:
    if pa.types.is_floating(values.type):
        wide = values.cast(pa.float64())
        numbers = wide.to_numpy(zero_copy_only=False)
        whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
        integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
        text = pc.if_else(pa.array(whole), integers, wide.cast(pa.string()))
        return pc.if_else(pa.array(np.isnan(numbers)), pa.scalar(None, pa.string()), text)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(values.cast(pa.string()))
    absent = pc.is_in(trimmed, value_set=pa.array(["", *sorted(missing)]))
    return pc.if_else(absent, pa.scalar(None, pa.string()), trimmed)


def _first_row(coded: pa.DictionaryArray, bad: np.ndarray) -> int:
    """First row whose code is in ``bad`` ``[U]`` bool (missing rows, code -1, count as the last entry)."""
    return int(np.flatnonzero(bad[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)])[0])


def _refuse(coded: pa.DictionaryArray, bad: np.ndarray, chunk: Chunk, source: Source, says: str) -> None:
    """Raise for the first bad row, if there is one. ``bad`` has one more entry than there are distinct values: missing."""
    used = np.bincount(coded.indices.fill_null(len(bad) - 1).to_numpy(zero_copy_only=False), minlength=len(bad))
    if (bad & (used > 0)).any():
        row = _first_row(coded, bad)
        value = coded[row].as_py()
        found = "is missing" if value is None else f"is '{value}'"
        raise DataError(f"{source.row_name(chunk.place, chunk.first + row)}: {says.format(found=found)}")


def _take(table: np.ndarray, coded: pa.DictionaryArray) -> np.ndarray:
    return table[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def _binary(coded: pa.DictionaryArray, label: Label, chunk: Chunk, source: Source) -> np.ndarray:
    """``[B]`` uint8 of a label column."""
    text = [*coded.dictionary.to_pylist(), None]
    if label.positive or label.negative:
        chosen = {str(v).strip() for v in label.positive or label.negative}
        values = [None if v is None else int((v in chosen) == bool(label.positive)) for v in text]
        rule = f"label '{label.column}' {{found}}; every row needs a value"
    elif label.at_least is not None:
        numbers = [_number(v) for v in text]
        values = [None if x is None else int(x >= label.at_least) for x in numbers]
        rule = f"label '{label.column}' {{found}}, but at_least needs a number in every row"
    else:
        numbers = [_number(v) for v in text]
        values = [int(x) if x in (0.0, 1.0) else None for x in numbers]
        rule = (
            f"label '{label.column}' {{found}}, not 0 or 1; "
            "correct the row, or say what raw values mean with positive, negative or at_least"
        )
    _refuse(coded, np.array([v is None for v in values]), chunk, source, rule)
    return _take(np.array([v or 0 for v in values], dtype=np.uint8), coded)


def _check_numbers(coded: pa.DictionaryArray, name: str, use: Numeric, chunk: Chunk, source: Source) -> None:
    text = pl.Series(coded.dictionary, dtype=pl.String)
    bad = (text.cast(pl.Float64, strict=False).is_null() & text.is_not_null()).to_numpy()
    says = f"column '{name}' {{found}}, not a number; list it under categorical, or mark the value as missing"
    _refuse(coded, np.append(bad, False), chunk, source, says)


def _kind(coded: pa.DictionaryArray) -> str:
    """What a chunk's values look like, as far as they go: one of :data:`KINDS`."""
    text = pl.Series(coded.dictionary, dtype=pl.String).drop_nulls()
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count():
        return "text"
    return "whole" if (numbers == numbers.floor()).all() else "decimal"


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return None if number is None or np.isnan(number) else number


def _order(coded: pa.DictionaryArray, name: str, chunk: Chunk, source: Source) -> np.ndarray:
    """``[B]`` float64 that sorts like the column's numbers or ISO dates."""
    text = pl.Series(coded.dictionary, dtype=pl.String)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count():
        numbers = text.str.to_datetime(strict=False, time_unit="us").cast(pl.Int64).cast(pl.Float64)
    values = np.append(numbers.to_numpy().astype(np.float64), np.nan)
    _refuse(
        coded,
        np.isnan(values),
        chunk,
        source,
        f"column '{name}' {{found}}; a temporal split needs a number or an ISO date",
    )
    return _take(values, coded)


def _part_column(coded: pa.DictionaryArray, spec: Columns, chunk: Chunk, source: Source) -> np.ndarray:
    """``[B]`` uint8 of a column that names the split."""
    names = [getattr(spec.split, part) for part in PARTS]
    known = {str(name): part for part, name in enumerate(names) if name is not None}
    values = np.array(
        [known.get(v, 255) if v is not None else 255 for v in [*coded.dictionary.to_pylist(), None]], dtype=np.uint8
    )
    says = f"column '{getattr(spec.split, 'column', '')}' {{found}}, not one of {', '.join(known)}; name its values in split"
    _refuse(coded, values == 255, chunk, source, says)
    return _take(values, coded)
