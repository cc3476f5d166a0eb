"""The range of a row's integer codes: a greedy search inwards from the row's minimum and maximum."""

from __future__ import annotations

import torch
from torch import Tensor

from sharkbench.formats.codec import RowCodec

CHUNK = 1 << 14
"""Rows searched at a time, so that the search works in the processor's cache."""


def greedy_range(body: Tensor, codec: RowCodec, bins: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Move, step by step, the end of each row's range whose move gives the smaller squared error.

    A step is the ``bins``-th part of the row's range. The search ends when ``ratio`` of the range is gone, and returns
    the best range met, the full one included. Errors are computed with scale and offset rounded as they are stored.

    Args:
        body: ``[R, n]`` the columns that become integers.
        codec: how they are stored; an integer one with an offset.

    Returns:
        ``[R]`` low and ``[R]`` high.
    """
    parts = [_search(chunk.float(), codec, bins, ratio) for chunk in body.split(CHUNK)]
    low, high = (torch.cat(ends) for ends in zip(*parts, strict=True))
    return low, high


def _search(body: Tensor, codec: RowCodec, bins: int, ratio: float) -> tuple[Tensor, Tensor]:
    low, high = body.amin(1), body.amax(1)
    step = (high - low) / bins
    best_low, best_high, best = low, high, squared_error(body, codec, low, high)
    for _ in range(int(bins * ratio)):
        up, down = squared_error(body, codec, low + step, high), squared_error(body, codec, low, high - step)
        raised = up < down
        low, high = torch.where(raised, low + step, low), torch.where(raised, high, high - step)
        error = torch.minimum(up, down)
        better = error < best
        best_low, best_high = torch.where(better, low, best_low), torch.where(better, high, best_high)
        best = torch.where(better, error, best)
    return best_low, best_high


def squared_error(body: Tensor, codec: RowCodec, low: Tensor, high: Tensor) -> Tensor:
    """``[R]``: squared error of rows ``[R, n]`` coded within ``low`` and ``high`` ``[R]``."""
    scale, offset = codec.ranges(body, low, high)
    assert offset is not None
    step = torch.where(scale > 0, scale, torch.ones_like(scale))[:, None]
    codes = ((body - offset[:, None]) / step).round_().clamp_(0, (1 << codec.bits) - 1)
    return codes.mul_(scale[:, None]).add_(offset[:, None]).sub_(body).square_().sum(1)
