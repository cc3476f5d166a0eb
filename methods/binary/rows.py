"""Rows served as signs and a magnitude, trained through latent float rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.dense import Dense
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.sharded import lookup

Scale = Literal["row", "field"]


class BinaryRows(Part):
    """``e_i = s_i sign(x_i)``, ``x`` ``[R, dimension]`` floats that are training state; first-order weights are fp16.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. With ``scale`` ``"row"``, ``s_i`` is the row's mean magnitude, fp16;
    with ``"field"`` each field has one ``s``, learned as its logarithm. Gradients pass straight through the sign, or
    with ``slope`` the layer computes ``s_i tanh(slope x_i / s_i)`` in training.

    Args:
        schema, fields, width: as for :class:`Part`.
        first_order: trailing columns that are first-order weights.
        scale: whether rows or fields have a magnitude of their own.
        init_std: initial standard deviation of the served rows.
        rise: training steps in which the slope of tanh grows by one, from one on; the sign itself unless given.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        *,
        first_order: int,
        scale: Scale,
        init_std: float,
        rise: int | None = None,
    ) -> None:
        super().__init__(schema, fields, width)
        self.dimension, self.first_order, self.scale, self.rise = width - first_order, first_order, scale, rise
        latent = torch.empty(self.num_rows, width).normal_(std=init_std)
        if scale == "row":
            # The mean magnitude of a normal variable is sqrt(2 / pi) of its standard deviation.
            latent[:, : self.dimension] *= sqrt(pi / 2)
        self.latent = nn.Parameter(latent)
        log_scale = torch.full((len(self.fields),), init_std).log()
        self.log_scale = nn.Parameter(log_scale) if scale == "field" else None
        self.steps = 0

    @property
    def slope(self) -> float | None:
        """Slope of tanh at this step; ``None`` where the layer uses the sign itself."""
        return None if self.rise is None or not self.training else 1 + self.steps / self.rise

    def after_step(self) -> None:
        self.steps += 1

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": [self.latent]}]
        if self.log_scale is not None:
            # A logarithm of zero has no special meaning: no weight decay towards it.
            groups.append({"params": [self.log_scale], "l2": 0.0, "lr_factor": 10.0})
        return groups

    def row_tables(self) -> list[nn.Parameter]:
        return [self.latent]

    def forward(self, slots: Slots) -> Tensor:
        latent = lookup(self.latent, slots.rows, sparse=self.sparse)
        body, tail = latent.split([self.dimension, self.first_order], -1)
        scale = self._scales(body, slots.owner)
        if self.slope is not None:
            signs = torch.tanh(self.slope * body / scale.detach().clamp(min=1e-8))
            coded = signs * scale
        else:
            signs = torch.where(body > 0, 1.0, -1.0)
            coded = signs * scale
            # The latent row gets the gradient of the coded row; a learned scale gets its own.
            coded = coded + (body - body.detach()) if self.scale == "field" else body + (coded - body).detach()
        if not self.first_order:
            return coded
        return torch.cat([coded, tail + (tail.half().float() - tail).detach()], -1)

    def _scales(self, body: Tensor, owner: Tensor) -> Tensor:
        """``[B, C, 1]``, as they are stored."""
        if self.log_scale is not None:
            return self.log_scale.exp()[owner][:, None]
        # The codec stores the distance between the two values.
        return (2 * body.abs().mean(-1, keepdim=True)).half().float() / 2

    def pack(self) -> list[Format]:
        latent = self.latent.detach()
        if not self.dimension:
            return [Dense.pack(self.schema, self.fields, latent.clone(), "fp16")]
        if self.log_scale is None:
            codec = RowCodec(dtype="int1", symmetric=True, tail=self.first_order)
            return [IntRows.pack(self.schema, self.fields, latent.clone(), codec)]
        scale = self.log_scale.detach().exp()
        signs = Codebooks.pack(
            self.schema,
            self.fields,
            (latent[:, : self.dimension] > 0).long(),
            [torch.stack([-scale, scale], 1).view(-1, 1)],
            shared=True,
            per_field=True,
        )
        if not self.first_order:
            return [signs]
        tail = Dense.pack(self.schema, self.fields, latent[:, self.dimension :].clone(), "fp16")
        return [SideBySide.pack([signs, tail])]
