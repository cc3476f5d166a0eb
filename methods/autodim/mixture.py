"""A differentiable mixture of candidate dimensions per field (AutoDim), and the choice of one dimension per field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.dimensions import fewest, field_bytes, spend, whole_if_no_larger

EPSILON = 1e-12
"""Added to variances; far below the variance of an initial table."""
CONSTANT = 1e-6
"""A column whose variance is less than this share of its mean square is constant up to rounding."""
UNITS = 20_000
"""The budget is divided into this many units to choose dimensions."""


class MixedDimensions(EmbeddingLayer):
    """``s_f * sum_k p_fk BN(e_f[:d_k] M_fk)``: candidates ``d_k`` are prefixes of one row, projected to the full width.

    Ids ``[B, S]`` to field vectors ``[B, F, W]``. ``p_f = softmax((log softmax(a_f) + G) / tau)`` with Gumbel noise
    ``G`` in training; in evaluation there is no noise and ``tau = 1``. Batch normalisation without scale and shift, per
    field, candidate and column, keeps a candidate from winning by its norm; the scale ``s_f`` ``[W]`` that follows is
    common to a field's candidates. ``logits`` ``a`` ``[F, K]`` is a buffer, not a parameter, so the model's optimizer
    does not update it. The layer serves a search and cannot be packed.

    Args:
        inner: full rows, whose leading values are the shorter candidates.
        candidates: ``K`` dimensions from 1 to the width.
        init_std: initial value of the common scale.
    """

    def __init__(self, inner: EmbeddingLayer, candidates: Sequence[int], init_std: float) -> None:
        super().__init__(inner.schema, inner.width, inner.fields)
        self.inner, self.candidates, self.temperature = inner, tuple(candidates), 1.0
        fields, width, count = len(inner.fields), inner.width, len(self.candidates)
        self.matrices = nn.ParameterList(torch.empty(fields, d, width).normal_(std=d**-0.5) for d in self.candidates)
        self.scale = nn.Parameter(torch.full((fields, width), init_std))
        self.register_buffer("logits", torch.zeros(fields, count))
        self.register_buffer("mean", torch.zeros(count, fields * width))
        self.register_buffer("variance", torch.ones(count, fields * width))
        self.logits: Tensor
        self.mean: Tensor
        self.variance: Tensor

    def gates(self, logits: Tensor) -> Tensor:
        """``[F, K]`` logits to ``[F, K]`` mixture weights."""
        if not self.training:
            return logits.softmax(1)
        noise = -torch.empty_like(logits).exponential_().log()
        return ((logits.log_softmax(1) + noise) / self.temperature).softmax(1)

    def forward(self, ids: Tensor) -> Tensor:
        return self._mix(self.inner(ids), self.logits, self.mean, self.variance)

    def gated(self, vectors: Tensor, logits: Tensor) -> Tensor:
        """The mixture of a held-out batch, normalised by the batch's own statistics; running statistics stay."""
        return self._mix(vectors, logits, None, None)

    def _mix(self, vectors: Tensor, logits: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        by_field, shares = vectors.transpose(0, 1), self.gates(logits)
        total: Tensor | float = 0.0
        for k, (d, matrices) in enumerate(zip(self.candidates, self.matrices, strict=True)):
            lifted = torch.bmm(by_field[..., :d], matrices).transpose(0, 1)
            own = (None, None) if mean is None or variance is None else (mean[k], variance[k])
            normed = _normalised(lifted.flatten(1), *own, by_batch=self.training or mean is None)
            total = total + shares[:, k, None] * normed.view_as(lifted)
        return total * self.scale

    def row_tables(self) -> list[nn.Parameter]:
        return self.inner.row_tables()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.inner.parameters())}, {"params": [*self.matrices, self.scale], "l2": 0.0}]

    def pack(self) -> PackedLayer:
        raise NotImplementedError("mixed dimensions serve a search only")


def _normalised(numbers: Tensor, mean: Tensor | None, variance: Tensor | None, *, by_batch: bool) -> Tensor:
    """Normalise ``[B, N]`` by column, with the batch's statistics (which then update ``mean`` and ``variance``) or with
    the running ones; constant columns give zeros, since normalisation would amplify their rounding errors."""
    normed = F.batch_norm(numbers, mean, variance, training=by_batch, eps=EPSILON)
    with torch.no_grad():
        if by_batch:
            variance, mean = torch.var_mean(numbers, 0, correction=0)
        assert variance is not None
        assert mean is not None
        varies = variance > CONSTANT * (variance + mean.square()) + 1e-20
    return normed * varies


def most_likely(logits: Tensor, candidates: Sequence[int], rows: Sequence[int], width: int, budget: int) -> list[int]:
    """Dimensions with the largest joint probability whose packed bytes meet ``budget``; the remainder is spent too.

    A knapsack with one choice per field: ``max sum_f log p_f,k(f)``, bytes counted in units of ``budget / 20000``. The
    remaining bytes buy further dimensions one by one, for the field that lacks most of its expected dimension.

    Args:
        logits: ``[F, K]``.
        candidates: ``K`` dimensions.
        rows: of each field.
        width: values of a full row.
        budget: bytes; at least those of one value per row.
    """
    scores = logits.double().log_softmax(1).numpy()
    unit = budget / UNITS
    best, choices = np.zeros(UNITS + 1), []
    for own, n in zip(scores, rows, strict=True):
        options = np.full((len(candidates), UNITS + 1), -np.inf)
        for k, d in enumerate(candidates):
            cost = int(np.ceil(field_bytes(n, whole_if_no_larger(n, d, width), width) / unit))
            if cost <= UNITS:
                options[k, cost:] = best[: UNITS + 1 - cost] + own[k]
        choices.append(options.argmax(0))
        best = options.max(0)
    dimensions, left = fewest(rows, width), UNITS
    # Where no choice fits only because bytes are rounded up to units, the cheapest choice fits.
    if np.isfinite(best[-1]):
        for f in reversed(range(len(rows))):
            dimensions[f] = whole_if_no_larger(rows[f], candidates[choices[f][left]], width)
            left -= int(np.ceil(field_bytes(rows[f], dimensions[f], width) / unit))
    expected = logits.softmax(1) @ torch.tensor(candidates, dtype=logits.dtype)
    return spend(dimensions, lambda f, d, _: float(expected[f]) - d, rows, width, budget)
