"""Priorities of rows: decaying counts of the positive and negative samples that read each row."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RowPriorities(nn.Module):
    """A priority per row, updated at every step and written only for the rows that the step read.

        p_i <- (1 - beta) p_i + beta (alpha * positives_i + negatives_i)

    with the numbers of positive and negative samples of the step that read row ``i``. A sample with several labels is
    positive to the degree of their mean (ours). A row that is not read only decays; the decay ``(1 - beta) ** steps``
    is applied when the row or its priority is next read. With ``beta = 0`` nothing decays and ``p_i`` is the plain
    weighted count (its limit, up to the factor ``beta`` that all rows share).

    The state takes eight bytes per row in training and is not served.

    Args:
        rows: of the table.
        alpha: weight of a positive sample; a negative sample has weight one.
        beta: rate of decay per step, in [0, 1).
    """

    def __init__(self, rows: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.register_buffer("value", torch.zeros(rows))
        self.register_buffer("touched", torch.zeros(rows, dtype=torch.int32))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.value: Tensor
        self.touched: Tensor
        self.step: Tensor

    @torch.no_grad()
    def update(self, rows: Tensor, samples: Tensor, labels: Tensor, weight: Tensor | None = None) -> None:
        """Update the priorities by one step.

        Args:
            rows: ``[n]`` int64, the rows that were read, with repetitions.
            samples: ``[n]`` int64, the sample that read each.
            labels: ``[B, T]``, zeros and ones.
            weight: ``[B]``, sample weights; one if not given.
        """
        self.step += 1
        positive = labels.float().mean(1)
        counts = self.alpha * positive + (1 - positive)
        counts = (counts if weight is None else counts * weight).index_select(0, samples)
        decayed = self.value.index_select(0, rows) * self._decay(self.touched.index_select(0, rows))
        # A row that was read more than once is written with the same value each time.
        self.value.index_copy_(0, rows, decayed)
        self.touched.index_fill_(0, rows, int(self.step))
        self.value.index_add_(0, rows, counts, alpha=self.beta or 1.0)

    def current(self) -> Tensor:
        """``[rows]`` float32: the priorities as of the last step."""
        return self.value * self._decay(self.touched)

    def _decay(self, since: Tensor) -> Tensor:
        return (1 - self.beta) ** (self.step - since).float()

    @property
    def nbytes(self) -> int:
        """Bytes of the state, all of it training memory."""
        return sum(buffer.nbytes for buffer in self.buffers())
