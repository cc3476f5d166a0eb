"""Importance of a trained model's fields on held-out data: ``[F, T]``, a column per label, higher is better.

Means over samples are weighted where samples have weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from sharkbench.data.samples import Batch, Split
from sharkbench.measure.quality import predict, quality
from sharkbench.model.model import Model
from sharkbench.results.metrics import Quality, monitored
from sharkbench.tasks.base import Task

BATCH = 8192


def taylor_scores(model: Model, split: Split, task: Task, batch_size: int = BATCH) -> Tensor:
    """First-order estimate of the change of each loss when a field's vectors are replaced by their mean.

        I_f = mean over x of | sum_d (mu_f,d - e_f,d(x)) dL(x) / de_f,d(x) |

    with ``mu_f`` the mean vector over the same samples. ``e_f`` is the field's whole input to the backbone, first-order
    weights included. In evaluation mode samples do not interact, so the gradient of the summed loss contains the
    gradient of every sample: one backward pass per label and batch scores all fields. A pass of lookups before it
    computes ``mu_f``.

    Returns:
        ``[F, T]`` float64 on the CPU; fields in the order of ``model.embedding.fields``.
    """
    with _evaluating(model):
        mean = _mean_vectors(model, split, batch_size)
        total: Tensor | float = 0.0
        for vectors, gradients, weight in _gradients(model, split, task, batch_size):
            terms = ((mean - vectors) * gradients).sum(-1)
            total = total + _sum(terms.abs(), weight, 1)
    assert isinstance(total, Tensor)
    return (total / split.mass).T.cpu()


def gradient_norms(model: Model, split: Split, task: Task, batch_size: int = BATCH) -> Tensor:
    """``I_f = mean over x of || dL(x) / de_f(x) ||_2``; ``[F, T]`` float64 on the CPU."""
    with _evaluating(model):
        total: Tensor | float = 0.0
        for _, gradients, weight in _gradients(model, split, task, batch_size):
            total = total + _sum(gradients.norm(dim=-1), weight, 1)
    assert isinstance(total, Tensor)
    return (total / split.mass).T.cpu()


def permutation_scores(
    model: Model, split: Split, task: Task, shuffles: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Permutation importance of each field with the model unchanged; mean over ``shuffles`` shuffles of its values.

    All slots of a multi-valued field move together. ``F * shuffles`` passes over the data.

    Returns:
        For each metric that the task monitors, how much worse it gets: ``[F, T]`` float64 on the CPU.
    """
    schema, fields = model.embedding.schema, model.embedding.fields
    before, metrics = _quality(model, split, task), monitored(task.metrics)
    group = split.group if any(metric.grouped for metric in metrics) else None
    found = {metric.name: torch.zeros(len(fields), len(before), dtype=torch.float64) for metric in metrics}
    for row, field in enumerate(fields):
        columns = torch.from_numpy(schema.slot_columns([field]))
        for _ in range(shuffles):
            order = torch.randperm(len(split), generator=generator)
            ids = split.ids.clone()
            ids[:, columns] = ids[order][:, columns]
            after = _quality(model, replace(split, ids=ids, group=group, mapped=False), task)
            for metric in metrics:
                pairs = [(before[label][metric.name], after[label][metric.name]) for label in before]
                found[metric.name][row] += torch.tensor([metric.score(a) - metric.score(b) for a, b in pairs])
    return {name: total / shuffles for name, total in found.items()}


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rho of two ``[F]`` scores; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    if len(first) < 2 or bool((first == first[0]).all()) or bool((second == second[0]).all()):
        return float("nan")
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def _quality(model: Model, split: Split, task: Task) -> Quality:
    names = [str(t) for t in range(split.labels.shape[1])]
    return quality(predict(model, split), split, names, task)


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _batches(model: Model, split: Split, batch_size: int) -> Iterator[Batch]:
    device = next(model.parameters()).device
    for start in range(0, len(split), batch_size):
        yield split.samples(slice(start, start + batch_size)).each(lambda column: column.to(device))


def _sum(values: Tensor, weight: Tensor | None, dim: int = 0) -> Tensor:
    """Float64 sum over the samples along ``dim``, weighted by ``weight`` if given."""
    if weight is None:
        return values.sum(dim, dtype=torch.float64)
    return torch.tensordot(values.double(), weight.double(), ([dim], [0]))


@torch.no_grad()
def _mean_vectors(model: Model, split: Split, batch_size: int) -> Tensor:
    """``[F, W]``: the mean vector of each field over the samples."""
    sums = [_sum(model.embedding(batch.ids), batch.weight) for batch in _batches(model, split, batch_size)]
    return (torch.stack(sums).sum(0) / split.mass).float()


def _gradients(
    model: Model, split: Split, task: Task, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Field vectors ``[B, F, W]``; per label, the gradient of each sample's loss with respect to them
    ``[T, B, F, W]``, without the sample's weight; and the weights ``[B]``."""
    loss_of = task.loss
    for ids, dense, labels, weight in _batches(model, split, batch_size):
        with torch.no_grad():
            vectors = model.embedding(ids)
        vectors.requires_grad_()
        with torch.enable_grad():
            logits = model.backbone(vectors, dense)
            # The task's loss is a mean over samples: times their number it is the sum.
            losses = [
                len(ids) * loss_of(logits[:, t : t + 1], labels[:, t : t + 1], None) for t in range(labels.shape[1])
            ]
        gradients = [
            torch.autograd.grad(loss, vectors, retain_graph=t + 1 < len(losses), materialize_grads=True)[0]
            for t, loss in enumerate(losses)
        ]
        yield vectors.detach(), torch.stack(gradients), weight
