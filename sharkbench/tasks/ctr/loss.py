"""The training loss of click-through rate prediction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """Binary cross-entropy of ``[B, T]``: mean over samples and labels, weighted by ``weight`` ``[B]`` if given.

    If all weights are 0, it is 0, with gradients of 0.
    """
    if weight is None:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)
    by_sample = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(1)
    total = weight.sum()
    # Normalise the weights first: the backward pass of a division by a tiny sum would overflow.
    return (by_sample * (weight / torch.where(total > 0, total, 1))).sum()
