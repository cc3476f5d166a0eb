"""Results of before metrics were data are read in today's shape."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from sharkbench.results import earlier
from sharkbench.results.metrics import Parts
from sharkbench.results.records import Result
from sharkbench.tasks.ctr import Ctr
from tests.records import a_result

FIXED = {"auc": 0.7, "logloss": 0.5, "normalized_entropy": 0.9, "ece": "NaN", "gauc": None}
EPOCH = {"stage": "train", "epoch": 1, "train_loss": 0.6, "learning_rate": 0.1, "seconds": 1.0}


def a_result_of_before(**changes: Any) -> str:
    now = json.loads(a_result().model_dump_json(exclude={"metrics", "task", "parts"}))
    blocks = {"positives": [0.6, 0.8], "negatives": [0.7, 0.7]}
    own = {
        "quality": {"y": {**FIXED, "auc_blocks": blocks}},
        "quality_valid": {"y": {**FIXED, "gauc": 0.6, "auc_blocks": None}},
        "pack_gap": {"y": -0.01},
        "history": [{**EPOCH, "valid_auc": {"y": 0.65}, "valid_logloss": {"y": 0.55}}],
    }
    return json.dumps({**now, **own, **changes})


def test_every_figure_is_found_where_it_is_now() -> None:
    read = Result.model_validate_json(a_result_of_before())
    assert read.task == "ctr"
    assert read.metric.name == "auc"
    assert set(read.quality["y"]) == {"auc", "logloss", "normalized_entropy", "ece"}
    assert math.isnan(read.quality["y"]["ece"])
    assert read.quality_valid["y"]["gauc"] == 0.6
    assert read.parts == {"y": {"auc": Parts(samples={"positives": (0.6, 0.8), "negatives": (0.7, 0.7)})}}
    assert read.pack_gap == {"y": {"auc": -0.01}}
    assert read.history[0].valid == {"y": {"auc": 0.65, "logloss": 0.55}}


def test_what_was_read_is_written_and_read_in_todays_shape() -> None:
    read = Result.model_validate_json(a_result_of_before())
    text = read.model_dump_json()
    assert "valid_auc" not in text
    assert Result.model_validate_json(text).model_dump_json() == text


@pytest.mark.parametrize(
    "changes",
    [
        {"quality": {"y": {**FIXED, "auc": 7.5}}},
        {"quality": {"y": 3}},
        {"quality": 3},
        {"pack_gap": {"y": -2}},
        {"history": [{**EPOCH, "valid_auc": {"y": 1.5}, "valid_logloss": {"y": 0.55}}]},
        {"history": 3},
    ],
)
def test_what_could_not_be_then_cannot_be_now(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Result.model_validate_json(a_result_of_before(**changes))


def test_its_metrics_rank_and_show_as_those_of_today() -> None:
    """What the task says of itself today may change; as long as it does not, tables of both are one."""
    assert Ctr.metrics == earlier.METRICS
