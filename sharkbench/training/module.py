"""The Lightning module: loss, gradients, the embedding layer's hooks, and validation."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from sharkbench.data.samples import Batch
from sharkbench.errors import Diverged
from sharkbench.model.model import Model
from sharkbench.results.metrics import Metric, monitored
from sharkbench.results.records import Epoch
from sharkbench.tasks.base import Task
from sharkbench.training.data_parallel import check_alike
from sharkbench.training.group import ALONE, Group
from sharkbench.training.losses import LossInputs
from sharkbench.training.optimizers import build_optimizers, slow_down
from sharkbench.training.overrides import ORDINARY, Overrides
from sharkbench.training.recipe import Recipe
from sharkbench.training.step import Step

CHECK_EVERY = 50
"""Steps between two checks that the losses are finite; each check waits for the GPU."""


class CtrModule(LightningModule):
    """Trains ``self.model`` by a recipe; ``self.history`` has one :class:`Epoch` per validation.

    Args:
        valid_groups: ``[n]`` group of each sample of the validation split, if a monitored metric needs it.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        recipe: Recipe,
        labels: tuple[str, ...],
        stage: str,
        group: Group = ALONE,
        overrides: Overrides = ORDINARY,
        valid_groups: NDArray[np.integer] | None = None,
    ) -> None:
        super().__init__()
        # The step calls the optimizers itself (Lightning's manual optimization).
        self.automatic_optimization = False
        self.overrides = overrides
        self.optimizer_names: list[str] = []
        self.model, self.task, self.recipe, self.labels, self.stage = model, task, recipe, labels, stage
        self.group, self.valid_groups = group, valid_groups
        self.history: list[Epoch] = []
        # Not registered as a module: it shares the parameters of model.backbone.
        self.run_backbone: Callable[[Tensor, Tensor], Tensor]
        self.__dict__["run_backbone"] = torch.compile(model.backbone) if recipe.compile else model.backbone
        self.samples = self.steps = 0
        self._unchecked: list[Tensor] = []
        self._sizes: list[int] = []
        self._steps_checked = 0
        self._masses: list[Tensor] = []
        self._loss_sum, self._loss_mass = 0.0, 0.0
        self._scores: list[Tensor] = []
        self._truth: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._since = time.perf_counter()

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        return self.run_backbone(self.model.embedding(ids), dense)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        made = build_optimizers(self.model, self.recipe, self.overrides.optimizers)
        self.optimizer_names = list(made)
        return list(made.values())

    # Training ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        step = Step(self, batch, self.steps)
        # Lower precision applies to forward passes only, which request it, not to gradients and optimizers.
        with torch.autocast(self.device.type, enabled=False):
            loss = self.overrides.step(step)
        self.steps += 1
        self.samples += len(batch.labels)
        self._unchecked.append(loss.detach())
        self._sizes.append(len(batch.labels))
        if step.mass is not None:
            self._masses.append(step.mass)
        if len(self._unchecked) >= CHECK_EVERY:
            self._check_losses()

    def loss_of(self, batch: Batch) -> Tensor:
        """The task's loss, or the method's own loss if it has one."""
        vectors = self.model.embedding(batch.ids)
        logits = self.run_backbone(vectors, batch.dense)
        loss = self.task.loss(logits, batch.labels, batch.weight)
        if self.overrides.loss is None:
            return loss
        taught = None
        if self.overrides.teacher is not None:
            with torch.no_grad():
                taught = self.overrides.teacher(batch.ids, batch.dense)
        return self.overrides.loss(LossInputs(self.model, batch, vectors, logits, loss, taught))

    def count_step_of(self, optimizer: torch.optim.Optimizer) -> None:
        """Step the recipe's optimizer, and let Lightning count the step."""
        wrapped = self.optimizers()
        (wrapped[0] if isinstance(wrapped, list) else wrapped).step()

    def _check_losses(self) -> None:
        if not self._unchecked:
            return
        losses = torch.stack(self._unchecked).double().cpu()
        masses = torch.stack(self._masses).double().cpu() if self._masses else torch.ones_like(losses)
        if self.group.size > 1:
            sizes = torch.tensor(self._sizes, dtype=torch.float64)
            losses, sizes = self.group.sum(torch.stack([losses * sizes, sizes]))
            losses /= sizes
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            step = self._steps_checked + int(bad[0]) + 1
            raise Diverged(
                f"the loss of stage '{self.stage}' is {float(losses[bad[0]])} in epoch {self.current_epoch + 1}, "
                f"step {step}; lower the learning rate or clip the gradient"
            )
        self._steps_checked += len(losses)
        self._loss_sum += float((losses * masses).sum())
        self._loss_mass += float(masses.sum())
        self._unchecked.clear()
        self._sizes.clear()
        self._masses.clear()

    # Validation ----------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._check_losses()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._scores.append(self(batch.ids, batch.dense).float())
        self._truth.append(batch.labels)
        if batch.weight is not None:
            self._weights.append(batch.weight)

    def on_validation_epoch_end(self) -> None:
        check_alike(self.model, self.group)
        scores, truth = self._gathered(self._scores), self._gathered(self._truth)
        weights = self._gathered(self._weights) if self._weights else None
        quality = self.task.quality(scores, truth, self.labels, self.valid_groups, weights)
        now, followed = time.perf_counter(), monitored(self.task.metrics)
        self.history.append(
            Epoch(
                stage=self.stage,
                epoch=len(self.history) + 1,
                train_loss=self._loss_sum / (self._loss_mass or 1),
                valid={label: {m.name: values[m.name] for m in followed} for label, values in quality.items()},
                learning_rate=self.trainer.optimizers[0].param_groups[-1]["lr"],
                seconds=now - self._since,
            )
        )
        self._loss_sum, self._loss_mass, self._since = 0.0, 0.0, now

    def _gathered(self, parts: list[Tensor]) -> NDArray[np.float32]:
        """Join the outputs of a validation from all processes, in the order of the split; empties ``parts``."""
        whole = torch.cat(self.group.gather(torch.cat(parts)))
        parts.clear()
        return whole.cpu().numpy()


class KeepBest(Callback):
    """Saves the weights of the best validation; lowers the learning rates at a miss, stops after too many misses."""

    def __init__(self, recipe: Recipe, metric: Metric, on_epoch: Callable[[Epoch], None] | None) -> None:
        self.recipe, self.metric, self.on_epoch = recipe, metric, on_epoch
        self.best, self.best_epoch, self.misses = -float("inf"), 0, 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, CtrModule)
        epoch = pl_module.history[-1]
        if not pl_module.model.embedding.may_stay():
            if self.on_epoch is not None:
                self.on_epoch(epoch)
            return
        score = self.metric.score(self.metric.mean(epoch.valid))
        if score > self.best + self.recipe.min_delta:
            self.best, self.best_epoch, self.misses = score, epoch.epoch, 0
            kept, self.weights = self.weights, {}
            for name, tensor in pl_module.model.state_dict().items():
                # Reuse the memory of the best weights so far, so that a large table never has a third copy.
                place = kept.pop(name, None)
                fits = place is not None and (place.shape, place.dtype) == (tensor.shape, tensor.dtype)
                self.weights[name] = place.copy_(tensor) if place is not None and fits else tensor.clone()
        else:
            self.misses += 1
            slow_down(trainer.optimizers, self.recipe.lr_factor)
            trainer.should_stop = trainer.should_stop or self.misses >= self.recipe.patience
        if self.on_epoch is not None:
            self.on_epoch(epoch)
