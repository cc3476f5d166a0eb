"""Rows with most of their weights pruned, at any positions, and the number of weights that a byte budget keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.base import Format
from sharkbench.formats.codec import FLOATS, FloatName
from sharkbench.formats.sparse import Sparse
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.rows import Rows


class MaskedRows(Rows):
    """``e_i = (W * M)[i]``: weights outside the mask are zero and stay zero, the others are trained.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. Served as :class:`~sharkbench.formats.sparse.Sparse` rows; in
    evaluation weights are rounded to the type of those.

    Args:
        schema, fields: as for :class:`Part`.
        weight: ``[R, width]`` initial rows; becomes the parameter.
        mask: ``[R, width]`` bool, the weights that are kept.
        values: data type that a kept weight is stored in.
    """

    def __init__(
        self, schema: Schema, fields: Sequence[int], weight: Tensor, mask: Tensor, *, values: FloatName = "fp32"
    ) -> None:
        super().__init__(schema, fields, torch.where(mask, weight, 0))
        self.values: FloatName = values
        self.register_buffer("mask", mask)
        self.mask: Tensor

    def forward(self, slots: Slots) -> Tensor:
        # Pruned weights are zero from the start; the product keeps them zero, since they get no gradient.
        found = super().forward(slots) * self.mask[slots.rows]
        return found if self.training else found.to(FLOATS[self.values]).float()

    def keep(self, fields: Sequence[int]) -> Part | None:
        weight, mask = (self.chosen(whole, fields) for whole in (self.weight.detach(), self.mask))
        return MaskedRows(self.schema, fields, weight, mask, values=self.values)

    def pack(self) -> list[Format]:
        return [Sparse.pack(self.schema, self.fields, self.weight, self.values, self.mask)]


def kept_within(budget: int, rows: int, width: int, values: FloatName = "fp32") -> int:
    """The most weights that ``rows`` rows of ``width`` may keep in ``budget`` bytes, positions included.

    Raises:
        Infeasible: not even one.
    """
    least = Sparse.bytes_of(rows, width, 1, values)
    if least > budget:
        raise Infeasible(
            f"telling which of {width} numbers are kept takes {least:,} bytes for {rows:,} rows, the budget is "
            f"{budget:,}; prune fields first, or take a method that shares rows"
        )
    low, high = 1, rows * width + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if Sparse.bytes_of(rows, width, middle, values) <= budget else (low, middle)
    return low


def largest(scores: Tensor, count: int) -> Tensor:
    """Bool, of the shape of ``scores``: the ``count`` largest; of equal scores the first."""
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    flat = scores.detach().flatten()
    # numpy selects several times faster than torch.
    bound = float(np.partition(flat.cpu().numpy(), len(flat) - count)[len(flat) - count])
    chosen = flat > bound
    ties = (flat == bound).nonzero().flatten()
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.view(scores.shape)
