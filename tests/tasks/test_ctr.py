"""The ctr task: its loss, its labels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import log_loss, roc_auc_score

from sharkbench.errors import DataError, Diverged
from sharkbench.tasks import ctr
from sharkbench.tasks.build import task_of
from sharkbench.tasks.config import Ctr, TaskConfig

rng = np.random.default_rng(0)
LABELS = (rng.random((400, 2)) < 0.3).astype(np.float32)
SCORES = (LABELS + rng.normal(size=LABELS.shape)).astype(np.float32)


def test_quality_is_per_label() -> None:
    result = ctr.quality(SCORES, LABELS, ("click", "like"), Ctr())
    for t, name in enumerate(("click", "like")):
        p = 1 / (1 + np.exp(-SCORES[:, t].astype(np.float64)))
        assert result[name].auc == pytest.approx(roc_auc_score(LABELS[:, t], SCORES[:, t]))
        assert result[name].logloss == pytest.approx(log_loss(LABELS[:, t], p))
        assert result[name].gauc is None


def test_groups_give_grouped_auc() -> None:
    one_group = ctr.quality(SCORES, LABELS, ("click", "like"), Ctr(), np.zeros(400, dtype=np.int32))
    assert one_group["click"].gauc == pytest.approx(one_group["click"].auc)


def test_loss_is_the_mean_over_labels() -> None:
    logits, labels = torch.from_numpy(SCORES), torch.from_numpy(LABELS)
    quality = ctr.quality(SCORES, LABELS, ("click", "like"), Ctr())
    expected = (quality["click"].logloss + quality["like"].logloss) / 2
    assert ctr.loss(logits, labels, None).item() == pytest.approx(expected, rel=1e-5)
    assert ctr.loss(logits.bfloat16(), labels, None).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_is_a_data_error(value: float) -> None:
    labels = LABELS.copy()
    labels[:, 1] = value
    with pytest.raises(DataError, match="'like'"):
        ctr.quality(SCORES, labels, ("click", "like"), Ctr())


def test_no_rows_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        ctr.quality(SCORES[:0], LABELS[:0], ("click", "like"), Ctr())


def test_scores_that_are_not_finite_are_no_auc() -> None:
    scores = SCORES.copy()
    scores[3, 0] = np.nan
    with pytest.raises(Diverged, match="'click'"):
        ctr.quality(scores, LABELS, ("click", "like"), Ctr())


def test_config_takes_a_name_or_a_mapping() -> None:
    adapter = TypeAdapter(TaskConfig)
    assert adapter.validate_python("ctr") == adapter.validate_python({"name": "ctr", "ece_bins": 20}) == Ctr()
    assert task_of(Ctr()) is ctr
    with pytest.raises(ValidationError):
        adapter.validate_python("topn")
