"""Bytes and parameters of a packed layer, compared with the fp32 table that it replaces."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sharkbench.data.schema import Schema
from sharkbench.formats.layer import PackedLayer
from sharkbench.model import artifact


class Memory(BaseModel):
    """Memory of a packed layer in serving; first-order weights are columns of the rows and are included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    bytes_by_field: dict[str, int]
    """Bytes by field name, ``"(shared)"`` for those that several fields share; a pruned field is absent."""
    bytes_by_format: dict[str, int]
    """Bytes by kind of format."""
    fp32_bytes: int
    """Bytes of the full fp32 table: every row of every field, including pruned fields."""
    parameters: int
    """Number of stored values, of any precision."""
    fp32_parameters: int
    formats: list[str]
    """Distinct kinds of the formats in use, sorted."""

    @property
    def bytes_ratio(self) -> float:
        return self.bytes / self.fp32_bytes

    @property
    def param_ratio(self) -> float:
        return self.parameters / self.fp32_parameters


def fp32_bytes(schema: Schema, width: int) -> int:
    """Bytes of the full fp32 table with ``width`` values per row."""
    return 4 * width * schema.num_rows


def memory_of(layer: PackedLayer, fp32_width: int | None = None) -> Memory:
    """Memory of a layer, read from its live buffers.

    Args:
        fp32_width: values per row of the fp32 table that the layer replaces; by default the layer's own. It differs if
            a method has chosen its dimension.
    """
    width = layer.width if fp32_width is None else fp32_width
    kinds = sorted({part.kind for part in layer.formats})
    return Memory(
        bytes=layer.nbytes,
        bytes_by_field=layer.nbytes_by_field(),
        bytes_by_format={kind: sum(part.nbytes for part in layer.formats if part.kind == kind) for kind in kinds},
        fp32_bytes=fp32_bytes(layer.schema, width),
        parameters=layer.num_parameters,
        fp32_parameters=width * layer.schema.num_rows,
        formats=kinds,
    )


def memory_of_file(path: Path | str) -> Memory:
    """Memory of a saved artifact; the bytes are those of the file's tensors."""
    return memory_of(artifact.load(path)).model_copy(update={"bytes": artifact.tensor_bytes(path)})
