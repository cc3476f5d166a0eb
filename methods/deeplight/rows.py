"""A table that is pruned again and again while it trains, harder each time; what was pruned may grow back."""

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
"""Where no more than this share of the way is left, a schedule counts as having arrived."""


class RegrowingRows(Rows):
    """One row per id; pruning sets weights to zero, and the steps after it may move them again.

    Args:
        schema, fields, weight: as for :class:`Rows`.
        kept: so many weights may be left where a validation is to count.
    """

    def __init__(self, schema: Schema, fields: Sequence[int], weight: Tensor, kept: int) -> None:
        super().__init__(schema, fields, weight)
        self.most = kept

    @torch.no_grad()
    def prune(self, count: int) -> None:
        """Set all but the ``count`` weights of largest magnitude to zero."""
        self.weight.mul_(largest(self.weight.abs(), count))

    def row_tables(self) -> list[nn.Parameter]:
        return []  # which weights are the largest of all is decided with all of them at hand

    def may_stay(self) -> bool:
        return int(self.weight.count_nonzero()) <= self.most

    def pack(self) -> list[Format]:
        return MaskedRows(self.schema, self.fields, self.weight.detach(), self.weight != 0).pack()


class PruneGradually(Callback):
    """Prunes :class:`RegrowingRows` every few steps, ``S (1 - D^(n / U))`` of it at step ``n``.

    ``S`` leaves ``kept`` numbers, and ``D^(1 / U)`` is such that the share arrives there after ``ramp`` steps. Before
    each validation it prunes too, so that what is validated has no regrown numbers.

    Args:
        rows: to prune.
        kept: numbers that are left in the end.
        ramp: steps.
        every: steps.
    """

    def __init__(self, rows: RegrowingRows, kept: int, *, ramp: int, every: int) -> None:
        self.rows, self.kept, self.ramp, self.every = rows, kept, ramp, every
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
            self._prune(trainer.global_step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prune(trainer.global_step)

    def _prune(self, step: int) -> None:
        regrown = int(self.rows.weight.count_nonzero())
        allowed = self.allowed(step, self.rows.weight.numel())
        self.rows.prune(allowed)
        if not self.path or self.path[-1]["step"] != step:
            self.path.append({"step": step, "nonzero_before": regrown, "kept": allowed})
