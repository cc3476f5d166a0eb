"""Rounding rows to what a codec can hold, up or down by chance, so that the mean of the outcomes is the row itself."""

from __future__ import annotations

import torch
from torch import Tensor

from sharkbench.formats.codec import RowCodec

_MANTISSA = {"fp16": 10, "bf16": 7}
_SMALLEST = {"fp16": -24, "bf16": -133}
"""Exponent of the smallest step: that of subnormal numbers."""


def round_nearest(rows: Tensor, codec: RowCodec) -> Tensor:
    """``[R, width]`` to the nearest rows that ``codec`` can hold, float32."""
    return codec.decode(codec.encode(rows), rows.shape[1])


def round_stochastic(rows: Tensor, codec: RowCodec, generator: torch.Generator) -> Tensor:
    """``[R, width]`` to rows that ``codec`` can hold: ``floor(w / step + u)``, a new ``u ~ U(0, 1)`` per number.

    For integers the range is the row's own, as the codec takes it; a step lies between two codes, or between two
    neighbouring floats. The result is what decoding gives, float32.
    """
    if codec.dtype == "fp32":
        return rows
    if codec.is_float:
        return _round_floats(rows, codec.dtype, generator)
    body = rows[:, : rows.shape[1] - codec.tail]
    scale, offset = codec.ranges(body)
    base = scale * -codec.zero if offset is None else offset
    step = torch.where(scale > 0, scale, torch.ones_like(scale))
    places = (body - base[:, None]) / step[:, None]
    # The two ends of the range stay where they are: moved, they would change the range, and with it every other number.
    ends = (body == body.amin(1, keepdim=True)) | (body == body.amax(1, keepdim=True))
    codes = torch.where(ends, places.round(), (places + _uniform(places, generator)).floor_())
    codes = codes.clamp_(0, (1 << codec.bits) - 1)
    rounded = codes * scale[:, None] + base[:, None]
    if not codec.tail:
        return rounded
    return torch.cat([rounded, _round_floats(rows[:, rows.shape[1] - codec.tail :], "fp16", generator)], dim=1)


def _round_floats(values: Tensor, dtype: str, generator: torch.Generator) -> Tensor:
    exponents = torch.frexp(values).exponent - 1
    steps = torch.ldexp(torch.ones_like(values), (exponents - _MANTISSA[dtype]).clamp(min=_SMALLEST[dtype]))
    # Powers of two: dividing and multiplying by them is exact.
    return (values / steps + _uniform(values, generator)).floor_() * steps


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device)
