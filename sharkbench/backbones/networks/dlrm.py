"""DLRM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sharkbench.backbones.base import Backbone, BackboneShape
from sharkbench.backbones.networks.layers import perceptron

if TYPE_CHECKING:
    from sharkbench.backbones.ctr.dlrm import DLRM


class DLRMBackbone(Backbone):
    """Naumov et al., 2019: ``logit = MLP([<e_i, e_j> for i < j])`` with dot products of all pairs of vectors.

    Where there are dense inputs, a bottom perceptron maps them to one more vector, which is part of the pairs and is
    also an input of the top perceptron.
    """

    def __init__(self, config: DLRM, shape: BackboneShape) -> None:
        super().__init__(config, shape)
        self.offset = 0 if config.self_interaction else 1
        vectors = shape.num_fields + bool(shape.num_dense)
        pairs = torch.triu_indices(vectors, vectors, offset=self.offset)
        self.register_buffer("pairs", pairs[0] * vectors + pairs[1], persistent=False)
        self.pairs: Tensor
        self.bottom = None
        if shape.num_dense:
            self.bottom = perceptron(shape.num_dense, config, hidden=config.bottom, outputs=shape.dimension)
        inputs = len(self.pairs) + (shape.dimension if shape.num_dense else 0)
        self.top = perceptron(inputs, config, hidden=config.hidden, outputs=shape.num_labels)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        if self.bottom is None:
            return self.top(self.interact(vectors))
        bottom = self.bottom(dense)
        vectors = torch.cat([vectors, bottom[:, None].to(vectors.dtype)], dim=1)
        return self.top(torch.cat([self.interact(vectors), bottom], dim=1))

    def interact(self, vectors: Tensor) -> Tensor:
        """``[B, V, D]`` to the dot products of pairs, ``[B, P]``."""
        return (vectors @ vectors.transpose(1, 2)).flatten(1).index_select(1, self.pairs)

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        state = super().state_without(keep)
        vectors = self.shape.num_fields + bool(self.shape.num_dense)
        kept = torch.cat([keep, torch.arange(self.shape.num_fields, vectors)])
        pairs = torch.triu_indices(len(kept), len(kept), offset=self.offset)
        # The column of a pair (i, j) in this backbone; the order of the two does not matter.
        column = torch.full((vectors * vectors,), -1)
        column[self.pairs.cpu()] = torch.arange(len(self.pairs))
        first, second = kept[pairs[0]], kept[pairs[1]]
        columns = column[torch.minimum(first, second) * vectors + torch.maximum(first, second)]
        columns = torch.cat([columns, torch.arange(len(self.pairs), state["top.0.weight"].shape[1])])
        state["top.0.weight"] = state["top.0.weight"][:, columns]
        return state
