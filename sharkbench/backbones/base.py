"""The contract of every backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from sharkbench.backbones.config import BackboneSettings


@dataclass(frozen=True)
class BackboneShape:
    """``num_fields`` F, embedding ``dimension`` D, ``num_dense`` K, ``num_labels`` T."""

    num_fields: int
    dimension: int
    num_dense: int
    num_labels: int


class Backbone(nn.Module):
    """Field vectors ``[B, F, W]`` and dense inputs ``[B, K]`` to logits ``[B, T]``.

    The first ``D`` of the ``W`` columns are the embedding vector; where the config says ``first_order``, ``T`` columns
    of linear weights follow. A field whose vector is zero contributes a constant in evaluation mode, so a field can be
    dropped without changing the learned weights of the others.
    """

    def __init__(self, config: BackboneSettings, shape: BackboneShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape

    def split(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, F, D + T]`` to the vectors ``[B, F, D]``, contiguous, and the linear weights ``[B, F, T]``."""
        # One split: the backward pass of each slice would fill a tensor of the full size.
        embeddings, weights = vectors.split([self.shape.dimension, vectors.shape[-1] - self.shape.dimension], dim=-1)
        return embeddings.contiguous(), weights

    @abstractmethod
    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor: ...

    def reset_parameters(self) -> None:
        """Xavier-normal weights and zero biases for every linear layer."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def drop_fields(self, keep: Sequence[int]) -> Self:
        """A backbone that reads only the fields at the positions ``keep`` of this one's input, in that order.

        Its outputs in evaluation mode equal this one's with the vectors of the other fields at zero.
        """
        positions = torch.tensor([int(k) for k in keep], dtype=torch.int64)
        with torch.random.fork_rng(devices=[]):  # initial weights are overwritten: keep the caller's random state
            smaller = type(self)(self.config, replace(self.shape, num_fields=len(positions)))
        smaller.load_state_dict(self.state_without(positions))
        device = next(self.parameters(), torch.empty(0)).device
        return smaller.to(device).train(self.training)

    def state_without(self, keep: Tensor) -> dict[str, Tensor]:
        """The state dict of a backbone with the fields ``keep`` (``[F']`` int64) only."""
        return self.state_dict()


def columns_of(keep: Tensor, shape: BackboneShape, *, dense: bool = True) -> Tensor:
    """Columns of the concatenated vectors (and dense inputs, which always stay) that belong to the fields ``keep``."""
    vectors = (keep[:, None] * shape.dimension + torch.arange(shape.dimension)).flatten()
    if not dense:
        return vectors
    return torch.cat([vectors, shape.num_fields * shape.dimension + torch.arange(shape.num_dense)])
