"""A table pruned in training: learned thresholds pull its weights towards zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.samples import Batch
from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.tables.masked import MaskedRows, largest
from sharkbench.tables.parts import Slots
from sharkbench.tables.rows import Rows

Granularity = Literal["global", "dimension", "feature", "field", "feature_dimension", "field_dimension"]


def soft_threshold(weight: Tensor, logit: Tensor) -> Tensor:
    """``sign(w) * relu(|w| - sigmoid(s))``; ``logit`` is broadcast."""
    return weight.sign() * (weight.abs() - logit.sigmoid()).relu()


class SoftThresholdRows(Rows):
    """``e_i = sign(W_i) * relu(|W_i| - sigmoid(s))``: rows ``[B, C]`` to vectors ``[B, C, width]``.

    Shapes of ``s``: ``[1, 1]`` global, ``[1, width]`` dimension, ``[R, 1]`` feature, ``[F, 1]`` field, ``[R, width]``
    feature_dimension, ``[F, width]`` field_dimension; a feature is a row.

    Only the batch's rows are thresholded: the others would have no gradient. The gradient of ``s`` is dense even where
    the table's is sparse, since L2 has to move every threshold. The part serves a search: training keeps its last
    weights, not those of the best validation.

    Args:
        schema, fields, weight: as for :class:`Rows`.
        granularity: what has a threshold of its own.
        start: initial value of every ``s``.
        lr_factor: learning rate of ``s``, relative to that of the embeddings.
        l2: of ``s``; the table has the recipe's.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        weight: Tensor,
        granularity: Granularity,
        *,
        start: float,
        lr_factor: float,
        l2: float,
    ) -> None:
        super().__init__(schema, fields, weight)
        self.granularity, self.lr_factor, self.l2 = granularity, lr_factor, l2
        rows, width = weight.shape
        across = {"global": 1, "dimension": 1, "field": len(self.fields), "field_dimension": len(self.fields)}
        along = width if granularity.endswith("dimension") else 1
        self.threshold = nn.Parameter(torch.full((across.get(granularity, rows), along), start))
        self.register_buffer(
            "row_owner", torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes)), persistent=False
        )
        self.row_owner: Tensor

    def forward(self, slots: Slots) -> Tensor:
        logit: Tensor = self.threshold
        if self.granularity in ("feature", "feature_dimension"):
            logit = F.embedding(slots.rows, logit)
        elif self.granularity in ("field", "field_dimension"):
            logit = logit[slots.owner]
        return soft_threshold(super().forward(slots), logit)

    def row_tables(self) -> list[nn.Parameter]:
        return []  # the search counts the weights of the whole table

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.weight]}, {"params": [self.threshold], "lr_factor": self.lr_factor, "l2": self.l2}]

    def may_stay(self) -> bool:
        return False

    @torch.no_grad()
    def margins(self) -> Tensor:
        """``[R, width]``: ``|W| - sigmoid(s)``; weights with a positive margin are not pruned."""
        by_field = self.granularity in ("field", "field_dimension")
        return self.weight.abs() - (self.threshold[self.row_owner] if by_field else self.threshold).sigmoid()

    @torch.no_grad()
    def table(self) -> Tensor:
        """``[R, width]``: the rows as a lookup returns them, thresholded."""
        return self.weight.sign() * self.margins().relu()

    def mask(self, count: int) -> Tensor:
        """``[R, width]`` bool: the ``count`` weights that are furthest above their threshold."""
        return largest(self.margins(), count)

    def pack(self) -> list[Format]:
        return MaskedRows(self.schema, self.fields, self.table(), self.margins() > 0).pack()


class PruneToCount(Callback):
    """Ends the training of a :class:`SoftThresholdRows` once at most ``kept`` weights are left.

    Thresholds that many weights share converge where the gradient of the loss outweighs their L2. From half of the
    training on, the L2 therefore doubles at each count that finds more weights left than a straight line allows, which
    reaches ``kept`` after nine tenths of the training.

    Args:
        rows: whose thresholds are learned.
        kept: weights.
        every: steps between two counts.
        steps: of the whole training.
    """

    def __init__(self, rows: SoftThresholdRows, kept: int, *, every: int, steps: int) -> None:
        self.rows, self.kept, self.every, self.half = rows, kept, every, steps / 2
        self.path: list[dict[str, float]] = []
        self._left_at_half: int | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        step, layer = trainer.global_step, self.rows
        if step % self.every:
            return
        left = int((layer.margins() > 0).sum())
        trainer.should_stop = trainer.should_stop or left <= self.kept
        (group,) = (g for g in trainer.optimizers[0].param_groups if any(p is layer.threshold for p in g["params"]))
        if step > self.half:
            self._left_at_half = self._left_at_half or left
            way = (step - self.half) / (0.8 * self.half)
            group["l2"] *= 2.0 if left > self._left_at_half + (self.kept - self._left_at_half) * way else 1.0
        threshold = float(layer.threshold.detach().sigmoid().mean())
        self.path.append({"step": step, "kept": left, "mean_threshold": threshold, "l2": group["l2"]})
