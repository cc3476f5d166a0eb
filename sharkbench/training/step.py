"""One training step, which a method may write itself: forward, backward, gradients, optimizers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sharkbench.data.samples import Batch
from sharkbench.model.model import Model
from sharkbench.training.data_parallel import average_gradients, share_of_batch
from sharkbench.training.gradients import clip, regularize, sum_rows
from sharkbench.training.optimizers import RECIPE

if TYPE_CHECKING:
    from sharkbench.training.module import CtrModule


class Step:
    """What a step has at hand; :func:`ordinary` is the step that the loop takes unless a method brings its own.

    Over several processes each has a part of the batch: :meth:`update` makes gradients those of the whole batch.

    Attributes:
        batch: on the device of the model.
        number: of the step in this training, from 0.
    """

    def __init__(self, module: CtrModule, batch: Batch, number: int) -> None:
        self.batch, self.number = batch, number
        self._module = module
        self._mass: Tensor | None = None

    @property
    def model(self) -> Model:
        return self._module.model

    @property
    def epoch(self) -> int:
        """From 0."""
        return int(self._module.current_epoch)

    @property
    def samples(self) -> int:
        """Samples of the whole batch, over all processes."""
        return self._module.group.total(len(self.batch.labels))

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By name: ``"recipe"`` is the recipe's, the others are the layer's and the method's own."""
        return dict(zip(self._module.optimizer_names, self._module.trainer.optimizers, strict=True))

    def on(self, batch: Batch) -> Step:
        """The same step on another batch: a held-out one, say."""
        return Step(self._module, batch.each(lambda column: column.to(self._module.device)), self.number)

    def count(self, samples: int) -> None:
        """Add what the step has passed through the model besides its batch to the cost of the training."""
        self._module.samples += samples

    def precision(self) -> AbstractContextManager[None]:
        """Within it the model computes in the recipe's precision; the methods of this class that run it do so."""
        context: AbstractContextManager[None] = self._module.trainer.precision_plugin.forward_context()
        return context

    def logits(self) -> Tensor:
        """``[B, T]``, with gradient."""
        with self.precision():
            logits: Tensor = self._module(self.batch.ids, self.batch.dense)
        return logits

    def data_loss(self) -> Tensor:
        """Scalar: the task's loss, or the method's own in place of it."""
        with self.precision():
            loss = self._module.loss_of(self.batch)
            if self.batch.weight is not None:
                loss, self._mass = share_of_batch(loss, self.batch.weight, self._module.group)
        return loss

    def loss(self) -> Tensor:
        """Scalar: :meth:`data_loss` and what the embedding layer adds to it."""
        loss = self.data_loss()
        with self.precision():
            extra = self.model.embedding.extra_loss()
            return loss if extra is None else loss + extra

    def zero_grad(self, *names: str) -> None:
        """Forget the gradients of these optimizers' parameters, of all unless named."""
        for optimizer in self._chosen(names).values():
            optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, a mean over the batch, to those of all parameters."""
        self._module.manual_backward(self._of_part(loss))

    def gradient(self, loss: Tensor, parameter: nn.Parameter) -> Tensor:
        """Gradient of ``loss``, a mean over the batch, by one parameter alone; its ``grad`` stays as it is.

        Over several processes it is this part's share, which :meth:`update` adds up to the whole batch's. What is made
        of it before must be linear in it.
        """
        (found,) = torch.autograd.grad(self._of_part(loss), [parameter])
        return found

    def update(self, *names: str) -> None:
        """Let these optimizers step, all unless named: sparse rows are summed, gradients changed as the recipe and the
        method say, those of the recipe's optimizer clipped; then the embedding layer's ``after_step``."""
        module, chosen = self._module, self._chosen(names)
        groups = [group for optimizer in chosen.values() for group in optimizer.param_groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        if module.group.size > 1:
            average_gradients(parameters, len(self.batch.labels), module.group)
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = sum_rows(parameter.grad)
        for group in groups:
            if group["l2"]:
                regularize(group["params"], group["l2"])
        if module.overrides.gradients is not None:
            with torch.no_grad():
                module.overrides.gradients(self.model)
        if RECIPE in chosen and module.recipe.clip_norm is not None:
            own = [parameter for group in chosen[RECIPE].param_groups for parameter in group["params"]]
            clip(own, module.recipe.clip_norm, module.group)
        for name, optimizer in chosen.items():
            # Lightning counts the steps of the recipe's optimizer; callbacks read them as ``trainer.global_step``.
            module.count_step_of(optimizer) if name == RECIPE else optimizer.step()
        with torch.no_grad():
            self.model.embedding.after_step()

    @property
    def mass(self) -> Tensor | None:
        """What the samples of the whole batch weigh; ``None`` where they have no weights."""
        if self._mass is None and self.batch.weight is not None:
            self._mass = self._module.group.sum(self.batch.weight.sum())
        return self._mass

    def _chosen(self, names: tuple[str, ...]) -> dict[str, torch.optim.Optimizer]:
        known = self.optimizers
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"there is no optimizer '{unknown[0]}'; there are {', '.join(known)}")
        return {name: known[name] for name in names or known}

    def _of_part(self, loss: Tensor) -> Tensor:
        # Parts of a batch differ in size; their gradients are added, and divided by all samples.
        return loss * len(self.batch.labels) if self._module.group.size > 1 else loss


def ordinary(step: Step) -> Tensor:
    """The step of the ordinary loop; returns its loss."""
    loss = step.loss()
    step.zero_grad()
    step.backward(loss)
    step.update()
    return loss
