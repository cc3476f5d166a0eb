"""Scores of a model on a split."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sharkbench.data.dataset import Split


@torch.inference_mode()
def predict(model: nn.Module, split: Split, batch_size: int = 8192) -> NDArray[np.float32]:
    """``[n, T]`` logits of a model or a packed model, in evaluation mode and float32.

    The model is left in the mode it was in.
    """
    first = next(model.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    was_training = model.training
    model.eval()
    try:
        parts = [
            model(split.ids[i : i + batch_size].to(device), split.dense[i : i + batch_size].to(device)).float().cpu()
            for i in range(0, len(split), batch_size)
        ]
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy() if parts else np.zeros((0, split.labels.shape[1]), dtype=np.float32)
