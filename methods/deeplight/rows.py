"""A table pruned repeatedly in training, to a rising sparsity; pruned weights may grow back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from sharkbench.data.samples import Batch
from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.tables.masked import MaskedRows, largest
from sharkbench.tables.rows import Rows

DONE = 1e-3
"""A schedule has reached its end where at most this share of the way remains."""


class RegrowingRows(Rows):
    """One row per id; pruning sets weights to zero, and the steps after it may change them again.

    Args:
        schema, fields, weight: as for :class:`Rows`.
        kept: a validation counts where at most this many weights are left.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], weight: Tensor, kept: int) -> None:
        super().__init__(schema, fields, weight)
        self.most = kept

    @torch.no_grad()
    def prune(self, count: int) -> None:
        """Set all but the ``count`` weights of largest magnitude to zero."""
        self.weight.mul_(largest(self.weight.abs(), count))

    def row_tables(self) -> list[nn.Parameter]:
        return []  # the largest weights of all can only be found in the whole table

    def may_stay(self) -> bool:
        return int(self.weight.count_nonzero()) <= self.most

    def pack(self) -> list[Format]:
        return MaskedRows(self.schema, self.fields, self.weight.detach(), self.weight != 0).pack()


class PruneGradually(Callback):
    """Prunes :class:`RegrowingRows` every few steps, a share ``S (1 - D^(n / U))`` of it at step ``n``.

    ``S`` leaves ``kept`` weights, and ``D^(1 / U)`` is such that the share reaches ``S`` after ``ramp`` steps. It also
    prunes before each validation, so that the validated table has no regrown weights.

    Args:
        rows: to prune.
        kept: weights that are left in the end.
        ramp: steps until the schedule reaches its end.
        every: steps between two prunings.
    """

    def __init__(self, rows: RegrowingRows, kept: int, *, ramp: int, every: int) -> None:
        self.rows, self.kept, self.ramp, self.every = rows, kept, ramp, every
        self.path: list[dict[str, int]] = []

    def allowed(self, step: int, numbers: int) -> int:
        """How many of ``numbers`` weights are left after the pruning at ``step``."""
        if step >= self.ramp:
            return min(self.kept, numbers)
        return numbers - int(max(numbers - self.kept, 0) * (1 - DONE ** (step / self.ramp)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            self._prune(trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prune(trainer.global_step)

    def _prune(self, step: int) -> None:
        regrown = int(self.rows.weight.count_nonzero())
        allowed = self.allowed(step, self.rows.weight.numel())
        self.rows.prune(allowed)
        if not self.path or self.path[-1]["step"] != step:
            self.path.append({"step": step, "nonzero_before": regrown, "kept": allowed})
