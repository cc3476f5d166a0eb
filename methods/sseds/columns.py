"""Saliency of each field's columns in a trained model, and the columns that a byte budget keeps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sharkbench.data.samples import Split
from sharkbench.model.model import Model
from sharkbench.tables.dimensions import field_bytes, whole_if_no_larger
from sharkbench.tasks.base import Task


def column_saliency(model: Model, split: Split, task: Task, batch_size: int) -> Tensor:
    """``|dL / dM|`` at ``M = 1``, for a mask ``M`` ``[F, width]`` that multiplies the field vectors.

    The gradient of each batch's mean loss, in evaluation mode; magnitudes are taken batch by batch and then averaged,
    since over all data together the gradient of a converged model is zero. Where samples have weights, a batch has the
    sum of its samples' weights.

    Args:
        batch_size: samples of a batch; scores with different batch sizes are not comparable.

    Returns:
        ``[F, width]`` float64 on the CPU; fields in the order of ``model.embedding.fields``.
    """
    loss_of, device = task.loss, next(model.parameters()).device
    mask = torch.ones(len(model.embedding.fields), model.embedding.width, device=device, requires_grad=True)
    total = torch.zeros(mask.shape, dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(split), batch_size):
            batch = split.samples(slice(start, start + batch_size)).each(lambda column: column.to(device))
            with torch.no_grad():
                vectors = model.embedding(batch.ids)
            with torch.enable_grad():
                logits = model.backbone(vectors * mask, batch.dense)
                loss = loss_of(logits, batch.labels, batch.weight)
            (gradient,) = torch.autograd.grad(loss, mask)
            total += gradient.abs().double().cpu() * batch.mass
    finally:
        model.train(was_training)
    return total / split.mass


def columns_within(scores: Tensor, rows: Sequence[int], budget: int, *, per_byte: bool = False) -> list[list[int]]:
    """Columns to keep of each field, best first by ``scores`` ``[F, width]``, as long as they fit.

    A field of ``rows[f]`` rows takes :func:`~sharkbench.tables.dimensions.field_bytes` bytes, its matrix included;
    where full rows are no larger than that, one column brings in all columns of the field. A column that does not fit
    is skipped, and later columns are still considered.

    Args:
        budget: bytes.
        per_byte: rank by score per row of the field instead.
    """
    width = scores.shape[1]
    value = scores / torch.tensor(rows, dtype=scores.dtype)[:, None] if per_byte else scores
    kept: list[list[int]] = [[] for _ in rows]
    left = budget
    for place in value.flatten().argsort(descending=True, stable=True).tolist():
        f, column = divmod(place, width)
        if column in kept[f]:
            continue
        now = len(kept[f])
        after = whole_if_no_larger(rows[f], now + 1, width)
        cost = field_bytes(rows[f], after, width) - (field_bytes(rows[f], now, width) if now else 0)
        if cost <= left:
            kept[f] = list(range(width)) if after == width else [*kept[f], column]
            left -= cost
    return [sorted(columns) for columns in kept]
