"""Encoding of a row of values as bytes, and decoding. Formats store rows; a codec defines the layout of a row."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sharkbench.errors import ArtifactError

FloatName = Literal["fp32", "fp16", "bf16"]
RowName = Literal["fp32", "fp16", "bf16", "int8", "int4", "int2", "int1"]
FLOATS: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CODES: dict[str, int] = {
    name: code for code, name in enumerate(("fp32", "fp16", "bf16", "int8", "int4", "int2", "int1"))
}
BITS: dict[str, int] = {"int8": 8, "int4": 4, "int2": 2, "int1": 1}
CHUNK = 1 << 16
"""Rows coded or checked at a time, so that a pass over a table needs little memory beside it."""


class RowCodec(BaseModel):
    """A row of ``width`` values as bytes.

    ``fp32``, ``fp16``, ``bf16``: the values themselves, ``[R, width]`` of that type.
    ``int8`` to ``int1``: ``[R, row_bytes]`` uint8, each row being

        codes of the first ``width - tail`` values, little-endian | ``tail`` values as fp16 | scale | offset

    and a value being ``code * scale + offset``. Where no offset is stored (``symmetric``), it is ``-zero * scale``,
    with zero ``2^(bits - 1)``, and one half for one bit: a sign. For ``int8`` with fp32 scales, and ``int4`` and
    ``int2`` with fp16 scales, this is the layout of PyTorch's own row-wise operators.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: RowName = "fp32"
    scale: Literal["fp16", "fp32"] = "fp16"
    """Type of the scale and offset that each integer row carries."""
    symmetric: bool = False
    """No stored offset: the range is centred on zero."""
    tail: int = Field(default=0, ge=0, le=1 << 16)
    """Trailing values stored as fp16 beside the codes (first-order weights, whose range differs from the vector's)."""

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def stored_dtype(self) -> torch.dtype:
        """Type of the tensor that holds stored rows."""
        return FLOATS.get(self.dtype, torch.uint8)

    @property
    def bits(self) -> int:
        return BITS[self.dtype]

    @property
    def zero(self) -> float:
        return 0.5 if self.bits == 1 else float(1 << (self.bits - 1))

    def code_bytes(self, width: int) -> int:
        return (self.bits * (width - self.tail) + 7) // 8

    def row_bytes(self, width: int) -> int:
        """Bytes of one row."""
        if self.is_float:
            return width * FLOATS[self.dtype].itemsize
        return self.code_bytes(width) + 2 * self.tail + FLOATS[self.scale].itemsize * (1 if self.symmetric else 2)

    def words(self, width: int) -> list[int]:
        """The codec of rows of ``width`` values, as the kernels read it."""
        return [CODES[self.dtype], FLOATS[self.scale].itemsize, self.symmetric, self.tail, self.row_bytes(width)]

    def encode(self, table: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        """``[R, width]`` floats to stored rows, rounding to the nearest.

        Args:
            low, high: ``[R]``, the range that integer codes of a row span; the row's own minimum and maximum where
                not given. With ``symmetric`` only ``high`` is read, as the largest magnitude.
        """
        if self.is_float:
            return table.detach().to(FLOATS[self.dtype]).contiguous()
        stored = torch.empty(len(table), self.row_bytes(table.shape[1]), dtype=torch.uint8, device=table.device)
        for start in range(0, len(table), CHUNK):
            rows = slice(start, start + CHUNK)
            part = table[rows].detach().float()
            body = part[:, : part.shape[1] - self.tail]
            scale, offset = self.ranges(body, None if low is None else low[rows], None if high is None else high[rows])
            base = scale * -self.zero if offset is None else offset
            step = torch.where(scale > 0, scale, torch.ones_like(scale))
            codes = ((body - base[:, None]) / step[:, None]).round_().clamp_(0, (1 << self.bits) - 1)
            stored[rows] = self.assemble(codes, scale, offset, part[:, part.shape[1] - self.tail :])
        return stored

    def ranges(
        self, body: Tensor, low: Tensor | None = None, high: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Scale and offset per row, as they will be stored (already rounded to the stored type), in float32."""
        kept = FLOATS[self.scale]
        if not body.shape[1]:  # rows of first-order weights only
            none = body.new_zeros(len(body))
            return none, None if self.symmetric else none
        if self.symmetric:
            if self.bits == 1:
                # The magnitude of least squared error is the mean magnitude; codes stand for -s/2 and s/2.
                scale = 2 * (body.abs().mean(1) if high is None else high.float())
            else:
                scale = (body.abs().amax(1) if high is None else high.float()) / ((1 << (self.bits - 1)) - 1)
            return scale.to(kept).float(), None
        low = body.amin(1) if low is None else low.float()
        high = body.amax(1) if high is None else high.float()
        offset = low.to(kept).float()
        return ((high - offset).clamp_(min=0) / ((1 << self.bits) - 1)).to(kept).float(), offset

    def assemble(
        self, codes: Tensor, scale: Tensor, offset: Tensor | None = None, tail: Tensor | None = None
    ) -> Tensor:
        """Stored rows from codes ``[R, width - tail]`` (integers from 0), ``scale`` and ``offset`` ``[R]``."""
        kept = FLOATS[self.scale]
        parts = [pack_bits(codes, self.bits)]
        if self.tail:
            assert tail is not None
            parts.append(bytes_of(tail, torch.float16))
        for value in (scale,) if self.symmetric else (scale, offset):
            assert value is not None
            parts.append(bytes_of(value[:, None], kept))
        return torch.cat(parts, dim=1)

    def decode(self, stored: Tensor, width: int) -> Tensor:
        """Stored rows ``[N, ...]`` to ``[N, width]`` float32."""
        if self.is_float:
            return stored.float()
        code_bytes, size = self.code_bytes(width), FLOATS[self.scale].itemsize
        codes = unpack_bits(stored[:, :code_bytes], self.bits, width - self.tail)
        end = code_bytes + 2 * self.tail
        scale = floats_of(stored[:, end : end + size], FLOATS[self.scale])
        offset = scale * -self.zero if self.symmetric else floats_of(stored[:, end + size :], FLOATS[self.scale])
        # Multiply, then add, each rounded: the compiled kernels do the same, so both give the same bits.
        body = codes.float() * scale + offset
        if not self.tail:
            return body
        return torch.cat([body, floats_of(stored[:, code_bytes:end], torch.float16)], dim=1)

    def check(self, stored: Tensor, rows: int, width: int, what: str) -> Tensor:
        """``stored``, if it has the type and shape of ``rows`` rows of this codec and all its values are finite.

        Raises:
            ArtifactError: otherwise.
        """
        if not self.is_float and self.tail > width:
            raise ArtifactError(f"{what}: {self.tail} of {width} columns are said to stand beside the codes")
        kind, columns = self.stored_dtype, width if self.is_float else self.row_bytes(width)
        if stored.dtype != kind or tuple(stored.shape) != (rows, columns):
            raise ArtifactError(
                f"{what} is {_shape(stored)}, its settings say {_name(kind)} [{rows}, {columns}]; the file is damaged"
            )
        for start in range(0, rows, CHUNK):
            part = stored[start : start + CHUNK]
            if not self.is_float:
                end = self.code_bytes(width)
                tail = floats_of(part[:, end : end + 2 * self.tail], torch.float16)
                part = torch.cat([tail, floats_of(part[:, end + 2 * self.tail :], FLOATS[self.scale])], dim=1)
            if not torch.isfinite(part).all():
                raise ArtifactError(f"{what} holds NaN or infinite numbers; the file is damaged")
        return stored


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """``[N, n]`` integers below ``2^bits`` to ``[N, ceil(n * bits / 8)]`` uint8, in little-endian order."""
    if bits == 8:
        return codes.to(torch.uint8)
    per = 8 // bits
    values = torch.zeros(len(codes), -(-codes.shape[1] // per) * per, dtype=torch.int32, device=codes.device)
    values[:, : codes.shape[1]] = codes.to(torch.int32)
    shifts = torch.arange(0, 8, bits, dtype=torch.int32, device=codes.device)
    return (values.unflatten(1, (-1, per)) << shifts).sum(-1).to(torch.uint8)


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """The ``count`` integers per row that :func:`pack_bits` packed, as uint8."""
    if bits == 8:
        return packed
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    codes = (packed.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return codes.flatten(1)[:, :count]


def bytes_of(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """``[N, k]`` values, rounded to ``dtype``, as ``[N, k * itemsize]`` bytes."""
    return numbers.detach().to(dtype).contiguous().view(torch.uint8)


def floats_of(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes ``[N, k * itemsize]`` read as ``[N, k]`` values of ``dtype``, in float32."""
    # A copy, because a slice may begin at an odd address.
    numbers = stored.clone(memory_format=torch.contiguous_format).view(-1).view(dtype)
    return numbers.view(len(stored), stored.shape[1] // dtype.itemsize).float()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return f"{_name(tensor.dtype)} {list(tensor.shape)}"
