"""Encodes raw columns of any type as codes into distinct text values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from sharkbench.data.lists import is_list, join_elements, join_tokens
from sharkbench.data.options import MultiValued
from sharkbench.data.spelling import plain_numbers, plain_times

CODED = pa.dictionary(pa.int32(), pa.string())
_ABSENT = pa.scalar(None, pa.string())


def code_column(
    column: pa.ChunkedArray, use: object = None, missing: frozenset[str] = frozenset()
) -> pa.DictionaryArray:
    """Any column as int32 codes into text values; missing values (null, empty, NaN, any of ``missing``) are null.

    A value of a typed column (number, boolean, time) is written in its plain form; blanks around text are stripped. A
    multi-valued cell holds its values as joined by :mod:`sharkbench.data.lists`.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    listed = is_list(array.type)
    if listed:
        array = join_elements(array, lambda values: _plain(values, missing), isinstance(use, MultiValued))
    if pa.types.is_dictionary(array.type) and not _is_text(array.type.value_type):
        array = array.cast(array.type.value_type)
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    coded = _used(array) if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    text = _plain(coded.dictionary, missing)
    if isinstance(use, MultiValued) and not listed:
        text = join_tokens(pl.Series(text, dtype=pl.String), use.separator, missing).to_arrow().cast(pa.string())
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int32()), text)


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _used(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    """Drop the values that no row has: a file's dictionary covers more rows than these."""
    rows = coded.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
    used = np.zeros(len(coded.dictionary) + 1, dtype=bool)
    used[rows] = True
    new = np.append(np.cumsum(used[:-1], dtype=np.int32) - 1, 0)[rows].astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(new, mask=rows < 0), coded.dictionary.filter(pa.array(used[:-1])))


def _plain(values: pa.Array, missing: frozenset[str]) -> pa.Array:
    """Text of ``values`` of any type, null where missing."""
    if pa.types.is_dictionary(values.type):
        return _plain(values.dictionary, missing).take(values.indices)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_floating(values.type):
        text = _float_text(values)
    elif pa.types.is_decimal(values.type):
        text = _as_arrow(plain_numbers(pl.Series(values.cast(pa.string()), dtype=pl.String)))
    elif pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        if pa.types.is_timestamp(values.type) and values.type.tz:
            values = values.cast(pa.timestamp(values.type.unit, "UTC"))
        text = _as_arrow(plain_times(pl.Series(values.cast(pa.string()), dtype=pl.String)))
    elif pa.types.is_integer(values.type):
        text = values.cast(pa.string())
    else:
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    absent = pc.is_in(text, value_set=pa.array(["", *sorted(missing)]))
    return pc.if_else(absent, _ABSENT, text)


def _float_text(values: pa.Array) -> pa.Array:
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    if whole.all():
        return integers
    # with the decimals of their own type: the text of a 32-bit float is short
    shortest = (values.cast(pa.float32()) if pa.types.is_float16(values.type) else values).cast(pa.string())
    text = _as_arrow(plain_numbers(pl.Series(pc.if_else(pa.array(whole), integers, shortest), dtype=pl.String)))
    return pc.if_else(pa.array(np.isnan(numbers)), _ABSENT, text)


def _as_arrow(text: pl.Series) -> pa.Array:
    return text.to_arrow().cast(pa.string())


def codes(coded: pa.DictionaryArray) -> np.ndarray:
    """``[B]`` int32, -1 where the row has no code."""
    found: np.ndarray = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return found
