"""A table that is pruned again and again while it trains, harder each time; what was pruned may grow back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from sharkbench.data.dataset import Batch
from sharkbench.data.schema import Schema
from sharkbench.formats.layer import PackedLayer
from sharkbench.tables.masked import MaskedTable, largest
from sharkbench.tables.pruned import FieldTable

DONE = 1e-3
"""Where no more than this share of the way is left, a schedule counts as having arrived."""


class RegrowingTable(FieldTable):
    """One row per id; pruning sets numbers to zero, and the steps after it may move them again.

    Args:
        schema, fields, weight, sparse: as for :class:`FieldTable`.
        kept: so many numbers may be left where a validation is to count.
    """

    def __init__(
        self, schema: Schema, fields: Sequence[int], weight: Tensor, kept: int, *, sparse: bool = False
    ) -> None:
        super().__init__(schema, fields, weight, sparse=sparse)
        self.most = kept

    @torch.no_grad()
    def prune(self, count: int) -> None:
        """Set all but the ``count`` numbers of largest magnitude to zero."""
        self.weight.mul_(largest(self.weight.abs(), count))

    def may_stay(self) -> bool:
        return int(self.weight.count_nonzero()) <= self.most

    def pack(self) -> PackedLayer:
        return MaskedTable(self.schema, self.fields, self.weight.detach(), self.weight != 0).pack()


class PruneGradually(Callback):
    """Prunes a :class:`RegrowingTable` every few steps, ``S (1 - D^(n / U))`` of it at step ``n``.

    ``S`` leaves ``kept`` numbers, and ``D^(1 / U)`` is such that the share arrives there after ``ramp`` steps. Before
    each validation it prunes too, so that what is validated has no regrown numbers.

    Args:
        kept: numbers that are left in the end.
        ramp: steps.
        every: steps.
    """

    def __init__(self, kept: int, *, ramp: int, every: int) -> None:
        self.kept, self.ramp, self.every = kept, ramp, every
        self.path: list[dict[str, int]] = []

    def allowed(self, step: int, numbers: int) -> int:
        """How many of ``numbers`` are left after the pruning at ``step``."""
        if step >= self.ramp:
            return min(self.kept, numbers)
        return numbers - int(max(numbers - self.kept, 0) * (1 - DONE ** (step / self.ramp)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            self._prune(pl_module.model.embedding, trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prune(pl_module.model.embedding, trainer.global_step)

    def _prune(self, layer: RegrowingTable, step: int) -> None:
        regrown = int(layer.weight.count_nonzero())
        allowed = self.allowed(step, layer.weight.numel())
        layer.prune(allowed)
        if not self.path or self.path[-1]["step"] != step:
            self.path.append({"step": step, "nonzero_before": regrown, "kept": allowed})
