"""One training step, which a method may replace: forward, backward, gradients, optimizers."""

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
    """The interface of a training step; :func:`ordinary` is the step of the loop unless a method has its own.

    With several processes each has a part of the batch; :meth:`update` averages the gradients over the whole batch.

    Attributes:
        batch: the batch, on the device of the model.
        number: number of the step in this training, from 0.
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
        """Number of the epoch, from 0."""
        return int(self._module.current_epoch)

    @property
    def samples(self) -> int:
        """Number of samples of the whole batch, over all processes."""
        return self._module.group.total(len(self.batch.labels))

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimizers by name: ``"recipe"`` is the recipe's, the others are those of the layer and of the method."""
        return dict(zip(self._module.optimizer_names, self._module.trainer.optimizers, strict=True))

    def on(self, batch: Batch) -> Step:
        """The same step on another batch, for example a held-out one."""
        return Step(self._module, batch.each(lambda column: column.to(self._module.device)), self.number)

    def count(self, samples: int) -> None:
        """Add ``samples`` that pass through the model besides the batch to the cost of the training."""
        self._module.samples += samples

    def precision(self) -> AbstractContextManager[None]:
        """Context with the recipe's precision for the model; the methods of this class that run the model use it."""
        context: AbstractContextManager[None] = self._module.trainer.precision_plugin.forward_context()
        return context

    def logits(self) -> Tensor:
        """``[B, T]`` logits of the batch, with gradient."""
        with self.precision():
            logits: Tensor = self._module(self.batch.ids, self.batch.dense)
        return logits

    def data_loss(self) -> Tensor:
        """Scalar: the task's loss, or the method's own loss if it has one."""
        with self.precision():
            loss = self._module.loss_of(self.batch)
            if self.batch.weight is not None:
                loss, self._mass = share_of_batch(loss, self.batch.weight, self._module.group)
        return loss

    def loss(self) -> Tensor:
        """Scalar: :meth:`data_loss` plus the embedding layer's ``extra_loss``."""
        loss = self.data_loss()
        with self.precision():
            extra = self.model.embedding.extra_loss()
            return loss if extra is None else loss + extra

    def zero_grad(self, *names: str) -> None:
        """Clear the gradients of the parameters of these optimizers, by default of all."""
        for optimizer in self._chosen(names).values():
            optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, a mean over the batch, to those of all parameters."""
        self._module.manual_backward(self._of_part(loss))

    def gradient(self, loss: Tensor, parameter: nn.Parameter) -> Tensor:
        """Gradient of ``loss``, a mean over the batch, with respect to one parameter; its ``grad`` is not changed.

        With several processes it is the gradient of this process's part, and :meth:`update` combines the parts. So any
        computation on it before that must be linear.
        """
        (found,) = torch.autograd.grad(self._of_part(loss), [parameter])
        return found

    def update(self, *names: str) -> None:
        """Step these optimizers, by default all. Before that, sparse rows are summed, the recipe and the method change
        the gradients, and those of the recipe's optimizer are clipped. Afterwards the layer's ``after_step`` runs."""
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
        """Total weight of the samples of the whole batch; ``None`` without weights."""
        if self._mass is None and self.batch.weight is not None:
            self._mass = self._module.group.sum(self.batch.weight.sum())
        return self._mass

    def _chosen(self, names: tuple[str, ...]) -> dict[str, torch.optim.Optimizer]:
        known = self.optimizers
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"there is no optimizer '{unknown[0]}'; there are {', '.join(known)}")
        return {name: known[name] for name in names or known}

    def _of_part(self, loss: Tensor) -> Tensor:
        # Parts of a batch differ in size; their gradients are summed and divided by the number of all samples.
        return loss * len(self.batch.labels) if self._module.group.size > 1 else loss


def ordinary(step: Step) -> Tensor:
    """The step of the ordinary loop; returns its loss."""
    loss = step.loss()
    step.zero_grad()
    step.backward(loss)
    step.update()
    return loss
