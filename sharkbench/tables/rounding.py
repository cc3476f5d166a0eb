"""Post-training rounding of a trained table, row by row."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sharkbench.formats.codec import RowCodec
from sharkbench.formats.dense import Dense
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.model.model import Model
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.kept import rows_of
from sharkbench.tables.packed import PackedTable

Range = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``[R, n]`` rows to the range ``([R], [R])``, low and high, of each row's codes."""


def rounded(model: Model, codec: RowCodec, find_range: Range | None = None) -> Model:
    """``model`` with every row of its table stored by ``codec``; its backbone is the same object.

    Args:
        find_range: of the columns that become integers; each row's minimum and maximum unless given.
    """
    return Model(PackedTable(rounded_layer(model.embedding, codec, find_range)), model.backbone)


def rounded_layer(embedding: EmbeddingLayer, codec: RowCodec, find_range: Range | None = None) -> PackedLayer:
    """The packed layer of :func:`rounded`."""
    table, schema, fields = rows_of(embedding), embedding.schema, embedding.fields
    if codec.is_float or codec.tail == table.shape[1]:
        # First-order weights alone are always floats, and need no scale beside them.
        dtype = codec.dtype if codec.is_float else "fp16"
        return PackedLayer(schema, embedding.width, [Dense.pack(schema, fields, table, dtype)])  # type: ignore[arg-type]
    low, high = find_range(table[:, : table.shape[1] - codec.tail]) if find_range else (None, None)
    return PackedLayer(schema, embedding.width, [IntRows.pack(schema, fields, table, codec, low, high)])
