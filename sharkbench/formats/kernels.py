"""Which code carries out lookups: the compiled kernels where they were built, plain torch otherwise.

A format that has a kernel describes its lookup as a :class:`Program`; :class:`~sharkbench.formats.layer.PackedLayer`
runs the programs of all its parts in one call. The C sources lie in ``csrc/``.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

ROWS, COMPOSED, TIERED, SPARSE_CSR, SPARSE_BITMAP, SHARED_ARRAY, CODEBOOKS, PROJECTED, TENSOR_TRAIN = range(9)
"""Kernels by number, as in ``csrc/kernels.h``."""


def _load() -> ModuleType | None:
    try:
        compiled = importlib.import_module("sharkbench.formats._kernels")
    except ImportError:
        return None
    address = _openmp()
    if address is not None:
        compiled.use_threads(address)
    compiled.use_tensors(Tensor)
    return compiled


def _openmp() -> int | None:
    """Address of ``GOMP_parallel`` in the OpenMP runtime that torch has loaded, if that runtime has it."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[5] for line in lines if "omp" in line.rpartition("/")[2] and ".so" in line}
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        if hasattr(library, "GOMP_parallel"):
            return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
    return None


compiled: ModuleType | None = _load()
"""The extension module, or ``None`` where it was not built."""


@dataclass(frozen=True)
class Columns:
    """Sources of a part's ids and destinations of its vectors, one entry per column (slot) of the part.

    ``ids`` are columns of the id matrix, ``out`` offsets (in floats) into the output row of a sample.
    """

    ids: np.ndarray
    out: np.ndarray


@dataclass(frozen=True)
class Program:
    """A lookup as the kernels read it: ``words`` (integers and addresses), and the tensors that they point into."""

    words: bytes
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        kernel: int,
        width: int,
        columns: Columns,
        rows: Sequence[np.ndarray],
        own: Sequence[int | Tensor],
        keep: Sequence[Tensor] = (),
    ) -> Program:
        """Args:
        rows: start, cardinality, may-be-empty, field and base of each column.
        own: the kernel's own words; a tensor stands for its address.
        keep: tensors that words point into besides.
        """
        table = torch.from_numpy(np.stack([columns.ids, columns.out, *rows]).astype(np.int64))
        words = [kernel, len(columns.ids), width, table, *own]
        numbers = [w.data_ptr() if isinstance(w, Tensor) else w for w in words]
        held = tuple(w for w in words if isinstance(w, Tensor))
        return cls(np.array(numbers, dtype=np.int64).tobytes(), (*held, *keep))
