"""A split on disk: one Arrow IPC stream with one record batch, so that each column is one flat, memory-mapped buffer.

``datasets.Dataset.from_file(path)`` reads the same file.
"""

from __future__ import annotations

import mmap
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from sharkbench.data.samples import Split

if TYPE_CHECKING:
    import polars as pl


_SINGLE = {"group": pa.int32(), "weight": pa.float32()}
"""Optional columns of a split, with one value per row."""


class SplitWriter:
    """Writes a split of known size, front to back in constant memory.

    The file is first laid out with zeros and then filled in place: Arrow writes a record batch in one piece, and only
    with one batch is every column a single tensor.
    """

    def __init__(
        self, path: Path, rows: int, slots: int, dense: int, labels: int, group: bool, weight: bool = False
    ) -> None:
        kinds: dict[str, tuple[pa.DataType, int]] = {"ids": (pa.int32(), slots)}
        if dense:
            kinds["dense"] = (pa.float32(), dense)
        kinds["labels"] = (pa.float32(), labels)
        schema = [(name, pa.list_(kind, width)) for name, (kind, width) in kinds.items()]
        single = [name for name, there in zip(_SINGLE, (group, weight), strict=True) if there]
        schema += [(name, _SINGLE[name]) for name in single]
        sizes = {name: 4 * rows * width for name, (_, width) in kinds.items()} | dict.fromkeys(single, 4 * rows)
        # read-only anonymous memory maps to the kernel's one page of zeros: it takes no memory at any length
        zeros = mmap.mmap(-1, max(*sizes.values(), 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        arrays: list[pa.Array] = []
        for name, kind in schema:
            width = kinds[name][1] if name in kinds else 1
            value_type = kinds[name][0] if name in kinds else kind
            flat = pa.Array.from_buffers(value_type, rows * width, [None, pa.py_buffer(zeros)[: 4 * rows * width]])
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, width) if name in kinds else flat)
        batch = pa.record_batch(arrays, schema=pa.schema(schema))
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
            writer.write_batch(batch)
        self._ends = {name: offset for name, (offset, _) in _buffers(path).items()}
        self._file = os.open(path, os.O_WRONLY)

    def append(self, **columns: np.ndarray) -> None:
        """Write the next rows: ``ids`` ``[b, S]`` int32, ``dense`` ``[b, K]`` and ``labels`` ``[b, T]`` float32,
        ``group`` ``[b]`` int32, ``weight`` ``[b]`` float32."""
        for name, values in columns.items():
            if name in self._ends and values.size:
                data = memoryview(np.ascontiguousarray(values).data).cast("B")
                while data:
                    written = os.pwrite(self._file, data, self._ends[name])
                    self._ends[name] += written
                    data = data[written:]

    def close(self) -> None:
        """Flush the file; all rows are on disk when this returns."""
        os.fsync(self._file)
        os.close(self._file)


def _read(path: Path) -> tuple[pa.RecordBatch, pa.Buffer]:
    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        return pa.ipc.open_stream(whole).read_next_batch(), whole


def _values(column: pa.Array) -> pa.Array:
    return column.values if pa.types.is_fixed_size_list(column.type) else column


def _buffers(path: Path) -> dict[str, tuple[int, int]]:
    """Per column: offset in the file and length, in bytes, of its values."""
    batch, whole = _read(path)
    found = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        data = _values(column).buffers()[1]
        found[name] = (data.address - whole.address, data.size)
    return found


def open_split(path: Path) -> Split:
    """Open the split as read-only tensors on the mapped file; nothing is copied."""
    batch, _ = _read(path)

    def tensor(name: str) -> torch.Tensor:
        column = batch.column(name)
        flat = np.frombuffer(_values(column).buffers()[1], dtype=np.int32 if name in ("ids", "group") else np.float32)
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1
        flat = flat[: batch.num_rows * width]
        return _read_only_tensor(flat if name in _SINGLE else flat.reshape(batch.num_rows, width))

    names = batch.schema.names
    dense = tensor("dense") if "dense" in names else torch.zeros((batch.num_rows, 0))
    group, weight = (tensor(name) if name in names else None for name in _SINGLE)
    return Split(tensor("ids"), dense, tensor("labels"), group, weight, mapped=True)


def _read_only_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor on read-only memory, without torch's warning about that, which a user cannot act upon."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def write_vocabulary(path: Path, fields: list[tuple[pl.Series, np.ndarray]]) -> None:
    """Write one row per row of the shared id space: ``value`` (null for id 0 of a field) and training ``frequency``."""
    import polars as pl  # reading a split does not need it

    values = [pl.Series([None], dtype=pl.String).append(v) for v, _ in fields]
    table = pa.table(
        {
            "value": (pl.concat(values) if values else pl.Series([], dtype=pl.String))
            .to_arrow()
            .cast(pa.large_string()),
            "frequency": np.concatenate([f for _, f in fields]) if fields else np.zeros(0, dtype=np.int64),
        }
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def open_vocabulary(path: Path) -> pa.RecordBatch:
    """The table that :func:`write_vocabulary` wrote, memory-mapped."""
    return _read(path)[0]


def open_frequencies(path: Path) -> np.ndarray:
    """``[num_rows]`` int64, memory-mapped."""
    column = open_vocabulary(path).column("frequency")
    # Not to_numpy: it makes pyarrow import pandas.
    return np.frombuffer(column.buffers()[1], dtype=np.int64)[: len(column)]
