"""A lookup as an argument of the GPU kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

WIDEST = 16
"""Most bytes that a thread reads in one instruction."""
NUMBERS = 2048
"""Values that one program of a kernel writes, sixteen for each of its 128 threads."""
WIDEST_TILE = 256


@dataclass(frozen=True)
class Launch:
    """A kernel of :mod:`sharkbench.formats.gpu.kernels`, by name, and its arguments.

    A program carries out ``block`` lookups, ``tile`` columns of each; ``grid`` is the number of programs.
    ``constants`` are compiled in: a kernel is compiled once per layout of a table.
    """

    kernel: str
    grid: tuple[int, int]
    arguments: Mapping[str, Tensor | tuple[Tensor, ...] | int]
    constants: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        kernel: str,
        ids: Tensor,
        places: Tensor,
        out: Tensor,
        own: Mapping[str, Tensor | tuple[Tensor, ...]],
        constants: Mapping[str, Any],
    ) -> Self:
        """Args:
        ids: ``[B, S]`` int32 or int64, all in range.
        places: ``[C]`` int64, the columns of ``ids``, and of ``out``, that are served.
        out: ``[B, S, width]`` float32, the last dimension without gaps.
        own: tensors that the kernel reads besides.
        constants: the kernel's own.
        """
        columns, width = len(places), out.shape[2]
        tile = min(WIDEST_TILE, max(8, 1 << (width - 1).bit_length()))
        block, count = NUMBERS // tile, len(ids) * columns
        arguments: dict[str, Tensor | tuple[Tensor, ...] | int] = {
            "ids": ids,
            "sample_stride": ids.stride(0),
            "column_stride": ids.stride(1),
            "places": places,
            "count": count,
            "out": out,
            **own,
        }
        shape = {
            "columns": columns,
            "out_strides": (out.stride(0), out.stride(1)),
            "width": width,
            "block": block,
            "tile": tile,
        }
        return cls(kernel, (-(-count // block), -(-width // tile)), arguments, {**constants, **shape})


def alignment(rows: Tensor, sizes: Sequence[int]) -> int:
    """The largest power of two, up to 16, that divides the address of every row in ``rows``, of ``sizes`` bytes each:
    the bytes that a kernel may read at once, since a GPU cannot read unaligned words."""
    return math.gcd(WIDEST, rows.data_ptr(), *sizes)
