"""The ctr task: its loss, its labels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import log_loss, roc_auc_score

from sharkbench.errors import DataError, Diverged
from sharkbench.tasks import registry
from sharkbench.tasks.ctr import Ctr

rng = np.random.default_rng(0)
LABELS = (rng.random((400, 2)) < 0.3).astype(np.float32)
SCORES = (LABELS + rng.normal(size=LABELS.shape)).astype(np.float32)


def test_quality_is_per_label() -> None:
    result = Ctr().quality(SCORES, LABELS, ("click", "like"))
    for t, name in enumerate(("click", "like")):
        p = 1 / (1 + np.exp(-SCORES[:, t].astype(np.float64)))
        assert result[name]["auc"] == pytest.approx(roc_auc_score(LABELS[:, t], SCORES[:, t]))
        assert result[name]["logloss"] == pytest.approx(log_loss(LABELS[:, t], p))
        assert "gauc" not in result[name]


def test_groups_give_grouped_auc() -> None:
    one_group = Ctr().quality(SCORES, LABELS, ("click", "like"), np.zeros(400, dtype=np.int32))
    assert one_group["click"]["gauc"] == pytest.approx(one_group["click"]["auc"])


def test_loss_is_the_mean_over_labels() -> None:
    logits, labels = torch.from_numpy(SCORES), torch.from_numpy(LABELS)
    quality = Ctr().quality(SCORES, LABELS, ("click", "like"))
    expected = (quality["click"]["logloss"] + quality["like"]["logloss"]) / 2
    assert Ctr().loss(logits, labels, None).item() == pytest.approx(expected, rel=1e-5)
    assert Ctr().loss(logits.bfloat16(), labels, None).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_is_a_data_error(value: float) -> None:
    labels = LABELS.copy()
    labels[:, 1] = value
    with pytest.raises(DataError, match="'like'"):
        Ctr().quality(SCORES, labels, ("click", "like"))


def test_no_rows_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        Ctr().quality(SCORES[:0], LABELS[:0], ("click", "like"))


def test_scores_that_are_not_finite_are_no_auc() -> None:
    scores = SCORES.copy()
    scores[3, 0] = np.nan
    with pytest.raises(Diverged, match="'click'"):
        Ctr().quality(scores, LABELS, ("click", "like"))


def test_config_takes_a_name_or_a_mapping() -> None:
    adapter = TypeAdapter(registry.AnyTask)
    assert adapter.validate_python("ctr") == adapter.validate_python({"name": "ctr", "ece_bins": 20}) == Ctr()
    assert registry.get("ctr") is Ctr
    with pytest.raises(ValidationError):
        adapter.validate_python("topn")
