"""Quality is computed from what is served."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from sharkbench.data.samples import Split
from sharkbench.measure.quality import predict, quality
from sharkbench.tasks.ctr import Ctr


class Scorer(nn.Module):
    """First column of the ids as the logit of each of two labels; dropout says whether it is in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        return self.dropout(ids[:, :1].to(torch.bfloat16) * torch.tensor([1.0, -1.0]).bfloat16())


def split_of(rows: int) -> Split:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(2, size=(rows, 2))).float()
    ids = torch.from_numpy(rng.integers(100, size=(rows, 3))).int()
    return Split(ids, torch.empty(rows, 0), labels, torch.zeros(rows, dtype=torch.int32))


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_predict_covers_every_row_in_order_whatever_the_batch(batch_size: int) -> None:
    split, model = split_of(50), Scorer()
    scores = predict(model, split, batch_size)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores[:, 0], split.ids[:, 0].numpy())
    np.testing.assert_array_equal(scores[:, 1], -split.ids[:, 0].numpy())
    assert model.training, "predict must leave the mode as it was"


def test_predict_on_no_rows() -> None:
    assert predict(Scorer(), split_of(0)).shape == (0, 2)


def test_quality_by_label() -> None:
    split = split_of(400)
    result = quality(predict(Scorer(), split), split, ("a", "b"), Ctr())
    expected = roc_auc_score(split.labels[:, 1].numpy(), -split.ids[:, 0].numpy())
    assert result["b"]["auc"] == pytest.approx(expected)
    assert result["b"]["gauc"] == pytest.approx(expected), "one group is the whole split"
