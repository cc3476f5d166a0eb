"""Integer rows whose step size is learned: ``w = step * code``, one step size per row or per field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec, floats_of, pack_bits, unpack_bits
from sharkbench.formats.dense import Dense
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.shape import TableShape
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.tables.bit_budget import CodedSize
from sharkbench.tables.code_store import FILL, SeededGenerator
from sharkbench.tables.stochastic import round_floats

SMALLEST_STEP = 2.0**-20
"""Lower bound of step sizes; fp16 holds it to 5 bits."""


def nearest_codes(body: Tensor, steps: Tensor, bits: int) -> Tensor:
    """``clip(round(w / step))``: ``[n, d]`` values and ``[n]`` step sizes to integers from ``-2^(b-1)``, as floats."""
    return (body / steps[:, None]).round_().clamp_(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def step_gradient(body: Tensor, steps: Tensor, gradient: Tensor, bits: int) -> Tensor:
    """``[n]``: gradient of the loss by each row's step size, through ``step * clip(round(w / step))``.

    The derivative of a rounded weight by the step size is the bound where the weight is clipped, else ``round(u) - u``
    with ``u = w / step`` (Esser et al., "Learned Step Size Quantization", ICLR 2020, eq. 3).

    Args:
        body: ``[n, d]`` weights ``w`` before rounding.
        steps: ``[n]``.
        gradient: ``[n, d]`` of the loss by the rounded weights.
    """
    places = body / steps[:, None]
    codes = nearest_codes(body, steps, bits)
    clipped = (places < -(1 << (bits - 1))) | (places > (1 << (bits - 1)) - 1)
    return (gradient * torch.where(clipped, codes, codes - places)).sum(1)


class SteppedRows(nn.Module):
    """Rows ``step * code`` with ``tail`` fp16 values beside them; writes round stochastically.

    Within :meth:`holding`, written rows are held in float32: reading rounds them to the nearest, for the second forward
    pass of learning the step sizes, and :meth:`release` rounds them stochastically with the step sizes at that time.

    ``units`` are what has a step size: rows or fields.
    """

    def __init__(self, width: int, tail: int, bits: int, chance: SeededGenerator) -> None:
        super().__init__()
        self.width, self.tail, self.bits, self.chance = width, tail, bits, chance
        self.zero = 1 << (bits - 1)
        self.held = False
        self._waiting: list[tuple[Tensor, Tensor]] = []

    @abstractmethod
    def units(self, rows: Tensor) -> Tensor:
        """``[n]`` rows to the units that they belong to."""

    @property
    @abstractmethod
    def num_units(self) -> int: ...

    @abstractmethod
    def steps(self, units: Tensor) -> Tensor:
        """``[n]`` float32."""

    @abstractmethod
    def set_steps(self, units: Tensor, steps: Tensor) -> None: ...

    @abstractmethod
    def _decode(self, rows: Tensor) -> Tensor: ...

    @abstractmethod
    def _store(self, rows: Tensor, codes: Tensor, tail: Tensor) -> None:
        """Store codes (counted from 0) and the tail, with the current step sizes."""

    def fill(self, draw: Callable[[int], Tensor], step: float) -> None:
        """Initialise from ``draw(n)`` ``[n, width]``, ``n`` rows at a time, rounded to the nearest multiple of
        ``step``."""
        device = self.device
        for rows in torch.arange(len(self), device=device).split(FILL):
            units = self.units(rows)
            self.set_steps(units, torch.full(units.shape, step, device=device))
            body, tail = self._split(draw(len(rows)).to(device))
            self._store(rows, nearest_codes(body, self.steps(units), self.bits) + self.zero, tail)

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        return next(self.buffers()).device

    def read(self, rows: Tensor) -> Tensor:
        values = self._decode(rows)
        for waiting, numbers in self._waiting:
            place = torch.searchsorted(waiting, rows).clamp_(max=len(waiting) - 1)
            found = (waiting[place] == rows).nonzero().flatten()
            steps = self.steps(self.units(rows[found]))
            body, tail = self._split(numbers[place[found]])
            nearest = nearest_codes(body, steps, self.bits) * steps[:, None]
            values[found] = torch.cat([nearest, tail], 1)
        return values

    def write(self, rows: Tensor, values: Tensor) -> None:
        if self.held:
            rows, order = rows.sort()
            self._waiting += [(rows, values[order])] if len(rows) else []
        else:
            self._round(rows, values)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Within it, written rows are held and not rounded."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def waiting(self) -> tuple[Tensor, Tensor]:
        """Rows ``[n]`` and values ``[n, width]`` that were written and are not rounded yet."""
        if not self._waiting:
            device = self.device
            return torch.empty(0, dtype=torch.int64, device=device), torch.empty(0, self.width, device=device)
        return torch.cat([rows for rows, _ in self._waiting]), torch.cat([values for _, values in self._waiting])

    def release(self) -> None:
        """Round the held rows."""
        rows, values = self.waiting()
        self._waiting.clear()
        if len(rows):
            self._round(rows, values)

    def _round(self, rows: Tensor, values: Tensor) -> None:
        body, tail = self._split(values)
        places = body / self.steps(self.units(rows))[:, None] + self.zero
        generator = self.chance.on(values.device)
        drawn = torch.rand(places.shape, generator=generator, device=values.device)
        codes = (places + drawn).floor_().clamp_(0, (1 << self.bits) - 1)
        self._store(rows, codes, round_floats(tail, "fp16", generator) if self.tail else tail)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split([self.width - self.tail, self.tail], dim=1)


class RowSteps(SteppedRows):
    """A step size per row, stored as fp16 in the row; a learned step size is rounded stochastically as well.

    Shapes: ``table`` ``[rows, row_bytes]`` uint8, as ``codec`` (symmetric) lays it out.
    """

    def __init__(self, rows: int, width: int, tail: int, bits: int, chance: SeededGenerator) -> None:
        super().__init__(width, tail, bits, chance)
        self.codec = _codec(bits, tail)
        self.register_buffer("table", torch.zeros(rows, self.codec.row_bytes(width), dtype=torch.uint8))
        self.table: Tensor

    @staticmethod
    def size(bits: int, shape: TableShape) -> CodedSize:
        """Packed bytes."""
        return CodedSize(_codec(bits, shape.first_order).row_bytes(shape.width))

    def __len__(self) -> int:
        return len(self.table)

    def units(self, rows: Tensor) -> Tensor:
        return rows

    @property
    def num_units(self) -> int:
        return len(self.table)

    def steps(self, units: Tensor) -> Tensor:
        return floats_of(self.table[:, -2:].index_select(0, units), torch.float16)[:, 0]

    def set_steps(self, units: Tensor, steps: Tensor) -> None:
        kept = round_floats(steps.clamp(min=SMALLEST_STEP), "fp16", self.chance.on(steps.device))
        self.table[:, -2:].index_copy_(0, units, kept.half()[:, None].view(torch.uint8))

    def _decode(self, rows: Tensor) -> Tensor:
        return self.codec.decode(self.table.index_select(0, rows), self.width)

    def _store(self, rows: Tensor, codes: Tensor, tail: Tensor) -> None:
        self.table.index_copy_(0, rows, self.codec.assemble(codes, self.steps(rows), tail=tail))

    def packed(self, schema: Schema, fields: Sequence[int]) -> Format:
        return IntRows(schema, fields, self.width, self.codec, self.table.clone())


class FieldSteps(SteppedRows):
    """A step size per field; rows are codes alone.

    Served as a codebook per field of all ``2^b`` multiples of the step size, in fp32, so that the values stay the same.

    Shapes: ``table`` ``[rows, code_bytes]`` uint8, ``tails`` ``[rows, tail]`` float16, ``step`` ``[fields]`` float32.
    """

    def __init__(self, schema: Schema, width: int, tail: int, bits: int, chance: SeededGenerator) -> None:
        super().__init__(width, tail, bits, chance)
        rows, code_bytes = schema.num_rows, -(-(width - tail) * bits // 8)
        self.register_buffer("table", torch.zeros(rows, code_bytes, dtype=torch.uint8))
        self.register_buffer("tails", torch.zeros(rows, tail, dtype=torch.float16))
        self.register_buffer("step", torch.zeros(schema.num_fields))
        self.register_buffer("ends", torch.from_numpy(np.asarray(schema.offsets[1:])), persistent=False)
        self.table: Tensor
        self.tails: Tensor
        self.step: Tensor
        self.ends: Tensor

    @staticmethod
    def size(bits: int, shape: TableShape) -> CodedSize:
        """Packed bytes."""
        books = shape.schema.num_fields * (1 << bits) * 4
        return CodedSize(-(-shape.dimension * bits // 8) + 2 * shape.first_order, books)

    def __len__(self) -> int:
        return len(self.table)

    def units(self, rows: Tensor) -> Tensor:
        return torch.searchsorted(self.ends, rows, right=True)

    @property
    def num_units(self) -> int:
        return len(self.step)

    def steps(self, units: Tensor) -> Tensor:
        return self.step[units]

    def set_steps(self, units: Tensor, steps: Tensor) -> None:
        self.step[units] = steps.clamp(min=SMALLEST_STEP)

    def _decode(self, rows: Tensor) -> Tensor:
        codes = unpack_bits(self.table.index_select(0, rows), self.bits, self.width - self.tail)
        body = (codes.float() - self.zero) * self.step[self.units(rows)][:, None]
        return torch.cat([body, self.tails.index_select(0, rows).float()], 1)

    def _store(self, rows: Tensor, codes: Tensor, tail: Tensor) -> None:
        self.table.index_copy_(0, rows, pack_bits(codes, self.bits))
        self.tails.index_copy_(0, rows, tail.half())

    def packed(self, schema: Schema, fields: Sequence[int]) -> Format:
        count = self.width - self.tail
        words = (torch.arange(1 << self.bits, device=self.step.device) - self.zero).float()
        books = (words * self.step[:, None]).view(-1, 1)
        made = Codebooks.pack(schema, fields, torch.zeros(0, count), [books.cpu()], shared=True, per_field=True)
        # Both pack codes in little-endian order: the trained bytes are served as they are.
        codes = Codebooks(schema, fields, made.settings, [self.table.clone()], made.books, None)
        if not self.tail:
            return codes
        return SideBySide.pack([codes, Dense.pack(schema, fields, self.tails.clone(), "fp16")])


def _codec(bits: int, tail: int) -> RowCodec:
    names: dict[int, Literal["int8", "int4", "int2"]] = {8: "int8", 4: "int4", 2: "int2"}
    return RowCodec(dtype=names[bits], symmetric=True, tail=tail)
