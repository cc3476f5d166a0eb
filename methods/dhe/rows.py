"""Rows that a network generates from hashes of the id (deep hash embedding), in training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.generated import Generated, Transform, encode
from sharkbench.tables.parts import Part, Slots

CALIBRATION_IDS = 4096
"""Ids that the network's initial scales are calibrated on."""


class GeneratedRows(Part):
    """``e_i = W_L mish(... mish(W_1 h(i)) ...) + b_L``, ``h(i)`` being hashes of the global id.

    Ids ``[B, C]`` to vectors ``[B, C, width]``. One network serves all fields of the part: ids are global, so equal
    local ids of two fields have different hashes. It runs once per distinct id of a batch, and batch norm (before each
    activation) counts each of these ids once.

    :meth:`start` calibrates the weights on a sample of ids: every layer's outputs have a standard deviation of one, the
    rows have mean zero and standard deviation ``init_std``, and batch norm's running statistics are those of the
    sample.

    Args:
        schema: of the data set.
        fields: of this part.
        width: weights per row.
        seeds: ``[k]`` int64, of the hash functions.
        transform: of the hashes.
        hidden: widths of the hidden layers.
        batch_norm: normalise the hidden layers' outputs.
        lr_factor: learning rate of the network, relative to that of embeddings.
        l2: strength of the network's weight decay; its biases and norms have none.

    Shapes: ``linears.{l}.weight`` ``[out, in]``.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        seeds: Tensor,
        transform: Transform,
        hidden: Sequence[int],
        *,
        batch_norm: bool = True,
        lr_factor: float = 1.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(schema, fields, width)
        self.transform: Transform = transform
        self.lr_factor, self.l2 = lr_factor, l2
        self.register_buffer("seeds", seeds)
        self.seeds: Tensor
        sizes = [len(seeds), *hidden, width]
        self.linears = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in hidden) if batch_norm else None

    @torch.no_grad()
    def start(self, init_std: float) -> None:
        """Draw the weights, and scale each layer on a sample of ids so that rows start with ``init_std``."""
        if not self.fields:
            return
        ids = torch.cat([torch.arange(self.schema.offsets[f], self.schema.offsets[f + 1]) for f in self.fields])
        x = encode(ids[:: -(-len(ids) // CALIBRATION_IDS)], self.seeds, self.transform)
        last = len(self.linears) - 1
        for k, linear in enumerate(self.linears):
            assert isinstance(linear, nn.Linear)
            nn.init.normal_(linear.weight)
            nn.init.zeros_(linear.bias)
            y = linear(x)
            # A single value has no standard deviation; its magnitude is used instead.
            spread = (y - y.mean(0)).square().mean().sqrt()
            scale = (init_std if k == last else 1.0) / (spread if spread > 0 else y.square().mean().sqrt())
            linear.weight.mul_(scale)
            y = y * scale
            if k == last:
                linear.bias.sub_(y.mean(0))
            elif self.norms is not None:
                norm = self.norms[k]
                assert isinstance(norm, nn.BatchNorm1d)
                norm.running_mean = y.mean(0)
                norm.running_var = y.var(0, correction=0)
                x = F.mish(_normalised(norm, y, training=False))
            else:
                x = F.mish(y)

    def forward(self, slots: Slots) -> Tensor:
        different, places = torch.unique(slots.ids.to(torch.int64), return_inverse=True)
        x = encode(different, self.seeds, self.transform)
        for k, linear in enumerate(self.linears):
            x = linear(x)
            if k == len(self.linears) - 1:
                break
            if self.norms is not None:
                norm = self.norms[k]
                assert isinstance(norm, nn.BatchNorm1d)
                # A single id has no variance to normalise by.
                x = _normalised(norm, x, training=self.training and len(x) > 1)
            x = F.mish(x)
        return F.embedding(places, x)

    def parameter_groups(self) -> list[dict[str, Any]]:
        network = [*self.linears.parameters(), *(self.norms.parameters() if self.norms is not None else ())]
        return [
            {"params": [p for p in network if p.ndim > 1], "lr_factor": self.lr_factor, "l2": self.l2},
            {"params": [p for p in network if p.ndim <= 1], "lr_factor": self.lr_factor, "l2": 0.0},
        ]

    @torch.no_grad()
    def pack(self) -> list[Format]:
        weights, biases = [], []
        for k, linear in enumerate(self.linears):
            assert isinstance(linear, nn.Linear)
            weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
            if self.norms is not None and k < len(self.norms):
                norm = self.norms[k]
                assert isinstance(norm, nn.BatchNorm1d)
                assert norm.running_mean is not None
                assert norm.running_var is not None
                factor = norm.weight / (norm.running_var + norm.eps).sqrt()
                weight, bias = weight * factor[:, None], (bias - norm.running_mean) * factor + norm.bias
            weights.append(weight)
            biases.append(bias)
        return [Generated.pack(self.schema, self.fields, self.seeds, weights, biases, "mish", self.transform)]


def _normalised(norm: nn.BatchNorm1d, x: Tensor, *, training: bool) -> Tensor:
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, norm.momentum or 0.0, norm.eps
    )
