"""Several values in one text: the cells of a multi-valued column between the first and the last pass over the rows.

Values are joined by a control character, which is escaped within values. So a value may contain any separator, and
joining is reversible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_END, _ESCAPE = "\x1f", "\x1b"
_SPECIAL = f"[{_END}{_ESCAPE}]"


class _Joint(NamedTuple):
    between: str
    signs: tuple[tuple[str, str], ...]
    """Escapes for the characters of a value, applied in this order."""


_WRITTEN = _Joint(_END, ((_ESCAPE, f"{_ESCAPE}0"), (_END, f"{_ESCAPE}1")))
_READABLE = _Joint(",", (("\\", "\\\\"), (",", "\\,")))


def is_list(kind: pa.DataType) -> bool:
    """Whether this type holds several values per row."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def join_elements(array: pa.Array, plain: Callable[[pa.Array], pa.Array], split: bool) -> pa.Array:
    """``[B]`` text of the lists of ``array``: the elements that ``plain`` makes text of, without the missing ones.

    ``split`` says whether :func:`tokens` will split them again; otherwise they are joined by commas for display.

    Raises:
        pyarrow.ArrowTypeError: the elements are nested.
    """
    kind = array.type.value_type
    if pa.types.is_nested(kind):
        raise pa.ArrowTypeError(f"its lists hold {kind}, where single values are needed")
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    text = plain(array.flatten())
    return _cells(text, np.repeat(np.arange(len(array)), lengths), len(array), _WRITTEN if split else _READABLE)


def join_tokens(cells: pl.Series, separator: str, missing: frozenset[str]) -> pl.Series:
    """Split cells of text at ``separator``, strip blanks around the values, drop missing values and join the rest."""
    each = pl.element().str.strip_chars()
    if cells.str.contains(_SPECIAL).any():
        each = each.str.replace_many(*map(list, zip(*_WRITTEN.signs, strict=True)))
    lists = cells.str.split(separator).list.eval(each.filter(~each.is_in(["", *missing])))
    text = lists.list.join(_END)
    return text.set(text == "", None)


def tokens(cells: pl.Series) -> pl.Series:
    """``[U]`` lists of the values of each cell; null if the cell is missing."""
    each = pl.element()
    if cells.str.contains(_ESCAPE, literal=True).any():
        each = each.str.replace_many(*map(list, zip(*((to, sign) for sign, to in _WRITTEN.signs), strict=True)))
    return cells.str.split(_END).list.eval(each)


def mended(cells: pl.Series, plain: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``cells`` with ``plain`` applied to each of their values; null values are dropped."""
    lists = tokens(cells)
    lengths = lists.list.len().fill_null(0).to_numpy()
    flat = lists.filter(pl.Series(lengths > 0)).explode(empty_as_null=True)
    text = plain(flat).to_arrow().cast(pa.string())
    joined = pl.Series(_cells(text, np.repeat(np.arange(len(cells)), lengths), len(cells), _WRITTEN), dtype=pl.String)
    return joined.set(joined == "", None)


def _cells(text: pa.Array, rows: np.ndarray, count: int, joint: _Joint) -> pa.Array:
    """``[count]`` text: the joined values of each row, without missing ones. ``rows`` (ascending, as long as ``text``)
    is the row of each value."""
    known = text.is_valid()
    ends = np.cumsum(np.bincount(rows[known.to_numpy(zero_copy_only=False)], minlength=count))
    text = text.filter(known)
    for sign, written in joint.signs:
        text = pc.replace_substring(text, sign, written)
    lists = pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), text)
    return pc.binary_join(lists, joint.between)
