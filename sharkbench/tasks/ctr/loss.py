"""The training loss of click-through rates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """Binary cross-entropy ``[B, T]``, mean over samples and labels; samples by their ``weight`` ``[B]``, if given.

    Of samples that weigh nothing together it is 0, with gradients of 0.
    """
    if weight is None:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)
    by_sample = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(1)
    total = weight.sum()
    # Shares first: the backward pass of a division by next to nothing would be infinite.
    return (by_sample * (weight / torch.where(total > 0, total, 1))).sum()
