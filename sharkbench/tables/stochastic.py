"""Rounding of rows to the precision of a codec, to the nearest or stochastically: unbiased, the mean is the row."""

from __future__ import annotations

import torch
from torch import Tensor

from sharkbench.formats.codec import RowCodec

_CUT = {"fp16": 13, "bf16": 16}
"""Bits of a float32's mantissa that the type does not have."""
_SMALLEST_NORMAL, _SUBNORMAL_STEP = 2.0**-14, 2.0**-24
"""Of fp16: below the first, its values are evenly spaced by the second. Subnormals of bf16 are subnormal in float32."""


def round_nearest(rows: Tensor, codec: RowCodec) -> Tensor:
    """``[R, width]`` to the nearest rows that ``codec`` can hold, float32."""
    return codec.decode(codec.encode(rows), rows.shape[1])


def round_stochastic(rows: Tensor, codec: RowCodec, generator: torch.Generator) -> Tensor:
    """``[R, width]`` to rows that ``codec`` can hold: ``floor(w / step + u)``, a new ``u ~ U(0, 1)`` per value.

    For integers the range is the row's own, as the codec computes it; a step is the distance between two codes, or
    between two neighbouring floats. The result is the decoded rows, float32.
    """
    if codec.dtype == "fp32":
        return rows
    if codec.is_float:
        return round_floats(rows, codec.dtype, generator)
    body = rows[:, : rows.shape[1] - codec.tail]
    scale, offset = codec.ranges(body)
    base = scale * -codec.zero if offset is None else offset
    step = torch.where(scale > 0, scale, torch.ones_like(scale))
    places = (body - base[:, None]) / step[:, None]
    # The two ends of the range are not rounded stochastically: moved, they would change the range and all other values.
    ends = (body == body.amin(1, keepdim=True)) | (body == body.amax(1, keepdim=True))
    codes = torch.where(ends, places.round(), (places + _uniform(places, generator)).floor_())
    codes = codes.clamp_(0, (1 << codec.bits) - 1)
    rounded = codes * scale[:, None] + base[:, None]
    if not codec.tail:
        return rounded
    return torch.cat([rounded, round_floats(rows[:, rows.shape[1] - codec.tail :], "fp16", generator)], dim=1)


def encode_stochastic(rows: Tensor, codec: RowCodec, generator: torch.Generator) -> Tensor:
    """``[R, width]`` to stored rows whose mean over the draws is the row itself.

    That holds for rows whose range is wider than a step of their offset in fp16.

    Unlike :func:`round_stochastic`, it also rounds the stored range stochastically, so that on average the ends of the
    range may move by less than a step of its type.

    Args:
        codec: floats, or integers with an offset.
    """
    if codec.is_float:
        return round_floats(rows, codec.dtype, generator).to(codec.stored_dtype)
    body, tail = rows.split([rows.shape[1] - codec.tail, codec.tail], dim=1)
    low, high = body.aminmax(dim=1, keepdim=True)
    levels = (1 << codec.bits) - 1
    offset = round_floats(low, codec.scale, generator)
    scale = round_floats((high - offset).clamp_(min=0) / levels, codec.scale, generator)
    places = (body - offset) / torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = (places + _uniform(places, generator)).floor_().clamp_(0, levels)
    codes = torch.where(body == low, 0, torch.where(body == high, levels, codes))
    if codec.tail:
        tail = round_floats(tail, "fp16", generator)
    return codec.assemble(codes, scale[:, 0], offset[:, 0], tail)


def round_floats(values: Tensor, dtype: str, generator: torch.Generator) -> Tensor:
    """``values`` rounded stochastically to a neighbour in ``dtype`` (fp32, fp16, bf16), as float32."""
    if dtype == "fp32":
        return values
    cut = _CUT[dtype]
    noise = torch.randint(1 << cut, values.shape, generator=generator, device=values.device, dtype=torch.int32)
    # Floats of one sign are ordered as their bits are: noise below the last kept bit carries into it stochastically.
    rounded = ((values.contiguous().view(torch.int32) + noise) & -(1 << cut)).view(torch.float32)
    if dtype == "bf16":
        return rounded
    evenly = (values / _SUBNORMAL_STEP + noise / (1 << cut)).floor_() * _SUBNORMAL_STEP
    return torch.where(values.abs() < _SMALLEST_NORMAL, evenly, rounded)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device)
