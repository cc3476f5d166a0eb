"""ALPT's update: rows in float32, step sizes by a second pass over the batch, rows rounded with the new step sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, Self

import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.tables.low_precision import LowPrecisionRows, PackedStore
from sharkbench.tables.row_store import StoredRows
from sharkbench.training.step import Step

from .rows import SteppedRows, step_gradient


class ThreeSteps:
    """A training step on one batch: the three steps of the paper, in order.

    Args:
        part: whose rows and step sizes are trained.
    """

    def __init__(self, part: LearnedSteps) -> None:
        self.part = part

    def __call__(self, step: Step) -> Tensor:
        """Carry out the step; returns the loss of the first pass."""
        part, store = self.part, self.part.stepped
        with store.holding():
            # First, the recipe's optimizer updates the batch's rows in float32: w' = w - eta grad L(w). They are not
            # written yet; a read rounds them to the nearest.
            loss = step.loss()
            step.zero_grad()
            step.backward(loss)
            step.update("recipe")
            # Second, the batch once more through the rounded rows, for the step sizes alone.
            rows, updated = store.waiting()
            if len(rows):
                gradient = step.gradient(step.data_loss(), part.rows).coalesce()
                part.steps.grad = gradient_of_steps(store, rows, updated, gradient, step.samples)
                step.update("steps")
            # Third, the rows are written, rounded stochastically with the new step sizes.
            store.release()
        return loss


def gradient_of_steps(store: SteppedRows, rows: Tensor, updated: Tensor, gradient: Tensor, samples: int) -> Tensor:
    """Sparse ``[units, 1]``: gradient of the loss by the step sizes, times ``g = 1 / sqrt(B D (2^(b-1) - 1))``.

    Args:
        rows: ``[n]``, ascending, that were updated.
        updated: ``[n, width]``, their values before rounding.
        gradient: sparse ``[rows, width]``, of the loss by the rounded rows; coalesced.
        samples: ``B``.
    """
    touched = gradient.indices()[0]
    place = torch.searchsorted(touched, rows).clamp_(max=len(touched) - 1)
    # Rows that a cache sent back are held as well, and no sample read them.
    found = (touched[place] == rows).nonzero().flatten()
    units, count = store.units(rows[found]), store.width - store.tail
    by_row = step_gradient(
        updated[found, :count], store.steps(units), gradient.values()[place[found], :count], store.bits
    )
    by_row /= sqrt(samples * count * max(store.zero - 1, 1))
    summed = torch.sparse_coo_tensor(units[None], by_row[:, None], (store.num_units, 1), check_invariants=False)
    return summed.coalesce()


class StepSizes:
    """The step sizes of a store, one per unit, as the rows ``[units, 1]`` that an optimizer updates."""

    def __init__(self, store: SteppedRows) -> None:
        self.store = store

    def read(self, rows: Tensor) -> Tensor:
        return self.store.steps(rows)[:, None]

    def write(self, rows: Tensor, values: Tensor) -> None:
        self.store.set_steps(rows, values[:, 0])


class LearnedSteps(LowPrecisionRows):
    """Low-precision rows whose step sizes are parameters too, with an optimizer of their own called ``"steps"``.

    Args:
        schema, fields: as for :class:`~sharkbench.tables.parts.Part`.
        store: of all rows.
        stepped: those of ``store`` that have step sizes: ``store`` itself, or the rows beside hot rows.
        optimizer: creates an optimizer from a list of parameters, with the learning rate of the step sizes.

    Attributes:
        steps: ``[units, 1]``, the parameter of that optimizer; like ``rows`` it has no memory.
    """

    steps: StoredRows
    stepped: SteppedRows

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        store: PackedStore,
        stepped: SteppedRows,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        super().__init__(schema, fields, store)
        # Not registered with torch again: `stepped` is registered as the store, or within it.
        self.__dict__["stepped"] = stepped
        self.__dict__["steps"] = StoredRows(StepSizes(stepped), stepped.num_units, 1)
        self.optimizer = optimizer

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [*super().parameter_groups(), {"params": [self.steps], "name": "steps", "optimizer": self.optimizer}]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = super()._apply(fn, recurse)
        self.steps.follow(self.here.device)
        return moved
