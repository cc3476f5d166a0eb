"""Losses of methods that replace the task's loss: their inputs, and distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sharkbench.data.samples import Batch
from sharkbench.model.model import Model


@dataclass(frozen=True)
class LossInputs:
    """The inputs of a method's own loss, for a batch of ``B`` samples with ``T`` labels.

    Attributes:
        model: the model in training.
        batch: ids ``[B, S]``, dense inputs ``[B, K]``, labels ``[B, T]`` and, if samples have weights, weights ``[B]``.
        vectors: ``[B, F, width]`` field vectors of the batch, first-order weights last.
        logits: ``[B, T]``.
        task: the task's loss, a scalar: the weighted mean over samples.
        teacher: ``[B, T]`` logits of the teacher without gradient, or ``None`` without a teacher.
    """

    model: Model
    batch: Batch
    vectors: Tensor
    logits: Tensor
    task: Tensor
    teacher: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of ``[B]`` or ``[B, ...]`` over the samples, like the task's loss; 0 if all weights are 0."""
        weight = self.batch.weight
        if weight is None:
            return values.mean()
        total = weight.sum()
        shares = weight / torch.where(total > 0, total, 1)
        return (values.flatten(1).mean(1) * shares if values.ndim > 1 else values * shares).sum()


@dataclass(frozen=True)
class Distillation:
    r"""The task's loss combined with a loss on a teacher's softened predictions (Hinton et al., "Distilling the
    Knowledge in a Neural Network", 2015, for binary labels).

    .. math:: (1 - \lambda) L + \lambda T^2 \, \mathrm{BCE}\bigl(z / T, \sigma(z^{teacher} / T)\bigr)

    Args:
        weight: :math:`\lambda`, from 0 to 1.
        temperature: :math:`T`, above 0.

    Raises:
        ValueError: the training has no teacher.
    """

    weight: float = 0.5
    temperature: float = 1.0

    def __call__(self, told: LossInputs) -> Tensor:
        if told.teacher is None:
            raise ValueError("distillation needs a teacher; give bench.train a model as 'teacher'")
        softened = torch.sigmoid(told.teacher.float() / self.temperature)
        logits = told.logits.float() / self.temperature
        distance = F.binary_cross_entropy_with_logits(logits, softened, reduction="none")
        return (1 - self.weight) * told.task + self.weight * self.temperature**2 * told.mean(distance)
