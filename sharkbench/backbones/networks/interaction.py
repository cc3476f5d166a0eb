"""The factorization machine's second-order term."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiInteraction(nn.Module):
    """Sum over all pairs of fields of their vectors' dot product, ``[B, F, D]`` to ``[B, T]``.

    Computed in O(F D) as ``0.5 * ((sum_f e_f)^2 - sum_f e_f^2)``, summed over the dimension. With several labels, each
    label weights the D components by its own factors, which start at one (this project's own extension; with one label
    there are no factors).
    """

    def __init__(self, dimension: int, num_labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dimension, num_labels)) if num_labels > 1 else None

    def forward(self, vectors: Tensor) -> Tensor:
        pairs = 0.5 * (vectors.sum(1).square() - vectors.square().sum(1))
        return pairs.sum(1, keepdim=True) if self.weight is None else pairs @ self.weight
