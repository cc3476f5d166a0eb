"""Raw columns of any type as codes into distinct text values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from sharkbench.data.options import MultiValued

CODED = pa.dictionary(pa.int32(), pa.string())
KINDS = ("whole", "decimal", "text")
"""What a column's values look like; a column is the last of these that any of its chunks is."""
_ABSENT = pa.scalar(None, pa.string())


def code_column(
    column: pa.ChunkedArray, use: object = None, missing: frozenset[str] = frozenset()
) -> pa.DictionaryArray:
    """Any column as int32 codes into text values; missing values (null, empty, NaN, any of ``missing``) are null.

    Whole floats read like integers (``2.0`` is ``2``), booleans like 0 and 1, and blanks around text do not count, so
    that the same data gives the same values from CSV and from Parquet. Lists are joined by the separator of ``use``.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(array.type) and not _is_text(array.type.value_type):
        array = array.cast(array.type.value_type)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        separator = use.separator if isinstance(use, MultiValued) else ","
        array = pc.binary_join(array.cast(pa.list_(pa.string())), separator)
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    coded = _used(array) if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), _text(coded.dictionary, missing))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)


def _used(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    """Without values that no row has: a file's dictionary is that of more rows than these."""
    rows = coded.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
    used = np.zeros(len(coded.dictionary) + 1, dtype=bool)
    used[rows] = True
    new = np.append(np.cumsum(used[:-1], dtype=np.int32) - 1, 0)[rows].astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(new, mask=rows < 0), coded.dictionary.filter(pa.array(used[:-1])))


def _text(values: pa.Array, missing: frozenset[str]) -> pa.Array:
    if pa.types.is_floating(values.type):
        text = _float_text(values.cast(pa.float64()))
    elif pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    else:
        text = values.cast(pa.string())
    absent = pc.is_in(text, value_set=pa.array(["", *sorted(missing)]))
    return pc.if_else(absent, _ABSENT, text)


def _float_text(values: pa.Array) -> pa.Array:
    numbers = values.to_numpy(zero_copy_only=False)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    text = pc.if_else(pa.array(whole), integers, values.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(numbers)), _ABSENT, text)


def codes(coded: pa.DictionaryArray) -> np.ndarray:
    """``[B]`` int32, -1 where the row has no code."""
    found: np.ndarray = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return found


def kind(coded: pa.DictionaryArray) -> str:
    """What a chunk's values look like: one of :data:`KINDS`."""
    text = pl.Series(coded.dictionary, dtype=pl.String).drop_nulls()
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count():
        return "text"
    return "whole" if (numbers == numbers.floor()).all() else "decimal"
