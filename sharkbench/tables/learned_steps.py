"""Learning the step sizes of integer rows while they train: a second pass over the batch, then the rounding."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from sharkbench.data.dataset import Batch
from sharkbench.tables.row_store import StoredRows
from sharkbench.tables.stepped_rows import SteppedRows, step_gradient


class StepsAsRows:
    """The steps of a store, one per unit, as the rows ``[units, 1]`` that an optimizer updates."""

    def __init__(self, store: SteppedRows) -> None:
        self.store = store

    def read(self, rows: Tensor) -> Tensor:
        return self.store.steps(rows)[:, None]

    def write(self, rows: Tensor, values: Tensor) -> None:
        self.store.set_steps(rows, values[:, 0])


class LearnSteps(Callback):
    """After each optimizer step, the batch once more through rows rounded to the nearest, for the steps alone; then
    the rows are rounded by chance with the new steps.

    Args:
        store: whose steps are learned; the first pass writes into it.
        optimizer: makes an optimizer of a list of parameters, with the steps' learning rate.
    """

    def __init__(self, store: SteppedRows, optimizer: Any) -> None:
        self.store, self.make = store, optimizer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.steps = StoredRows(StepsAsRows(self.store), self.store.num_units, 1)
        self.steps.follow(self.store.device)
        self.optimizer = self.make([self.steps])
        self.rates = self.optimizer.param_groups[0]["lr"], _embedding_rate(trainer)
        self.store.held = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        rows, values = self.store.waiting()
        if not len(rows):
            return
        with torch.enable_grad(), trainer.precision_plugin.train_step_context():
            loss = pl_module.task.loss(pl_module(batch.ids, batch.dense), batch.labels, batch.weight)
            (gradient,) = torch.autograd.grad(loss, [pl_module.model.embedding.members[0].rows])
        with torch.no_grad():
            self.steps.grad = self._gradient(rows, values, gradient.coalesce(), len(batch.labels))
            start, of_embedding = self.rates
            # A validation without gain lowers the learning rates of the model, and so this one (ours).
            self.optimizer.param_groups[0]["lr"] = start * _embedding_rate(trainer) / of_embedding
            self.optimizer.step()
            self.store.release()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.store.held = False

    def _gradient(self, rows: Tensor, values: Tensor, gradient: Tensor, samples: int) -> Tensor:
        """Sparse ``[units, 1]``, of the steps."""
        store, touched = self.store, gradient.indices()[0]
        place = torch.searchsorted(touched, rows).clamp_(max=len(touched) - 1)
        # Rows that a cache sent back wait as well, and no sample read them.
        found = (touched[place] == rows).nonzero().flatten()
        units, count = store.units(rows[found]), store.width - store.tail
        by_row = step_gradient(
            values[found, :count], store.steps(units), gradient.values()[place[found], :count], store.bits
        )
        by_row /= sqrt(samples * count * max(store.zero - 1, 1))
        summed = torch.sparse_coo_tensor(units[None], by_row[:, None], (store.num_units, 1), check_invariants=False)
        return summed.coalesce()


def _embedding_rate(trainer: Trainer) -> float:
    return float(next(g["lr"] for g in trainer.optimizers[0].param_groups if g["role"] == "embedding"))
