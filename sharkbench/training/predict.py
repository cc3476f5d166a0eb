"""Computes the scores of a model on a split."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sharkbench.data.loader import batches
from sharkbench.data.samples import Split


@torch.inference_mode()
def predict(model: nn.Module, split: Split, batch_size: int = 8192) -> NDArray[np.float32]:
    """``[n, T]`` logits of a model or a packed model, in evaluation mode and float32.

    The mode of the model is restored afterwards.
    """
    first = next(model.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    was_training = model.training
    model.eval()
    scores, start = np.empty(split.labels.shape, dtype=np.float32), 0
    try:
        for batch in batches(split, batch_size):
            end = start + len(batch.ids)
            scores[start:end] = model(batch.ids.to(device), batch.dense.to(device)).float().cpu().numpy()
            start = end
    finally:
        model.train(was_training)
    return scores
