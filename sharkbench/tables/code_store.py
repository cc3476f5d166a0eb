"""Rows stored as packed codes in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.dense import Dense
from sharkbench.formats.int_rows import IntRows
from sharkbench.seeds import derive
from sharkbench.tables.sharded import Gather, interleave
from sharkbench.tables.stochastic import encode_stochastic

FILL = 1 << 13
"""Rows drawn and coded at a time, so that initialisation needs no more memory than a batch."""
Rounding = Literal["stochastic", "nearest"]


class SeededGenerator(nn.Module):
    """The random number generator of one purpose, on the device that asks for it."""

    def __init__(self, seed: int, purpose: str) -> None:
        super().__init__()
        self.seed = derive(seed, purpose)
        self._generator: torch.Generator | None = None

    def on(self, device: torch.device) -> torch.Generator:
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
        return self._generator


class CodeStore(nn.Module):
    """Row ``i`` is stored by ``codec``; a write rounds it again, and integers get the range of the new row.

    Args:
        rows: of the table.
        width: values per row.
        codec: 16-bit floats, or integers with an offset.
        rounding: of written rows.
        chance: random numbers of stochastic rounding.

    Shapes: ``table`` ``[rows, ...]`` as the codec stores them; there are no other tensors.
    """

    def __init__(self, rows: int, width: int, codec: RowCodec, rounding: Rounding, chance: SeededGenerator) -> None:
        super().__init__()
        self.width, self.codec, self.rounding, self.chance = width, codec, rounding, chance
        columns = width if codec.is_float else codec.row_bytes(width)
        self.register_buffer("table", torch.empty(rows, columns, dtype=codec.stored_dtype))
        self.table: Tensor

    def __len__(self) -> int:
        return len(self.table)

    def fill(self, draw: Callable[[int], Tensor]) -> None:
        """Initialise from ``draw(n)`` ``[n, width]``, ``n`` rows at a time, rounded to the nearest."""
        for part in self.table.split(FILL):
            part.copy_(self.codec.encode(draw(len(part))))

    def read(self, rows: Tensor) -> Tensor:
        return self.codec.decode(self.table.index_select(0, rows), self.width)

    def write(self, rows: Tensor, values: Tensor) -> None:
        if self.rounding == "nearest":
            stored = self.codec.encode(values)
        else:
            stored = encode_stochastic(values, self.codec, self.chance.on(values.device))
        self.table.index_copy_(0, rows, stored)

    def divide(self, rank: int, size: int) -> None:
        self.table = self.table[rank::size].clone()

    def unite(self, gather: Gather) -> None:
        self.table = interleave(gather(self.table))

    def packed(self, schema: Schema, fields: Sequence[int]) -> Format:
        """The stored rows, unchanged, in the format that serves them."""
        kind = Dense if self.codec.is_float else IntRows
        return kind(schema, fields, self.width, self.codec, self.table.clone())
