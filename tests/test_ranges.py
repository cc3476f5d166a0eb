"""Numbers that cannot be are warned of with file, key, field and value, and left out of every table and every merge."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sharkbench.leaderboard.merge import merge
from sharkbench.results.archive import ARCHIVE, write_archive
from sharkbench.results.metrics import Parts
from sharkbench.results.records import Environment, Epoch, Result, Speed, TrainingCost
from sharkbench.results.store import ENVIRONMENT, RESULT, SPEED, Store
from tests.records import KEY, a_quality, a_result, a_speed, an_environment, put

QUALITY = a_quality(gauc=0.6)
PARTS = Parts(samples={"positives": (0.5, 1.0), "negatives": (0.0, math.nan)})
EPOCH = Epoch(stage="train", epoch=1, train_loss=-0.5, valid={"y": {"auc": 0.5, "logloss": 0.6}},
              learning_rate=0.1, seconds=1.0)  # fmt: skip
COST = TrainingCost(seconds=1.0, samples=5, samples_per_second=5.0, peak_memory_bytes=1, peak_memory_kind="resident",
                    epochs=1)  # fmt: skip
GOOD = a_result(
    quality={"y": QUALITY}, quality_valid={"y": QUALITY}, parts={"y": {"auc": PARTS}}, pack_gap={"y": {"auc": -0.01}},
    bytes=12, fp32_bytes=24,
    bytes_ratio=0.5, param_ratio=0.5, bytes_by_field={"f": 12}, bytes_by_format={"dense": 12}, backbone_bytes=4,
    budget_bytes=13, training=COST, history=[EPOCH],
)  # fmt: skip

IMPOSSIBLE: list[tuple[str, list[Any]]] = [
    ("quality.y.auc", [7.5, -0.1, "Infinity"]),
    ("quality.y.logloss", [-1]),
    ("quality.y.normalized_entropy", [-0.2]),
    ("quality.y.ece", [1.5, -0.1]),
    ("quality.y.gauc", [2]),
    ("parts.y.auc.samples.positives", [[0.5, 1e300]]),
    ("parts.y.auc.samples.negatives", [["-Infinity"]]),
    ("quality_valid.y.auc", [75]),
    ("pack_gap.y.auc", [-1.5]),
    ("quality.y.clicks", [0.5]),
    ("bytes", [-5]),
    ("fp32_bytes", [-1]),
    ("bytes_ratio", [-0.5, "NaN"]),
    ("param_ratio", [-1]),
    ("bytes_by_field.f", [-12]),
    ("bytes_by_format.dense", [-12]),
    ("backbone_bytes", [-1]),
    ("budget_bytes", [-1]),
    ("dimension", [0]),
    ("seed", [-1]),
    ("seconds", [-1, "NaN"]),
    ("training.seconds", [-1]),
    ("training.samples", [-1]),
    ("training.peak_memory_bytes", [-1]),
    ("history.0.valid.y.auc", [1.01]),
    ("history.0.valid.y.logloss", [-0.1]),
    ("history.0.epoch", [-1]),
    ("history.0.seconds", [-1]),
]
SPEEDS: list[tuple[str, list[Any]]] = [
    ("lookups.0.ratio_torch", [0, -2]),
    ("lookups.0.ratio_fp32", [0]),
    ("lookups.0.per_second", [-1]),
    ("lookups.0.threads", [0]),
    ("model_samples_per_second", [-1]),
    ("other_cpu_percent", [-1]),
]


def changed(record: Result | Speed, place: str, value: Any) -> str:
    """The record's text with another value at ``place``."""
    data = json.loads(record.model_dump_json())
    *way, last = place.split(".")
    inner = data
    for step in way:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[last] = value
    return json.dumps(data)


def cases(places: list[tuple[str, list[Any]]]) -> list[tuple[str, Any]]:
    return [(place, value) for place, values in places for value in values]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "out")
    put(made, GOOD, an_environment())
    put(made, GOOD.model_copy(update={"key": "bb"}), an_environment())
    made.write_speed(KEY, a_speed())
    return made


def test_what_can_be_is_read(store: Store) -> None:
    assert [result.model_dump_json() for result in store.results()] == [
        GOOD.model_dump_json(), GOOD.model_copy(update={"key": "bb"}).model_dump_json()
    ]  # fmt: skip
    assert store.speed(KEY) == a_speed()


@pytest.mark.parametrize(("place", "value"), cases(IMPOSSIBLE))
def test_a_result_that_cannot_be_is_named_and_left_out(store: Store, place: str, value: Any) -> None:
    (store.directory(KEY) / RESULT).write_text(changed(GOOD, place, value))
    with pytest.warns(UserWarning, match=f"{KEY}/{RESULT} cannot be read: {place}.*; left out") as told:
        assert [result.key for result in store.results()] == ["bb"]
    assert len(told) == 1


@pytest.mark.parametrize(("place", "value"), cases(SPEEDS))
def test_a_speed_that_cannot_be_is_named_and_left_out(store: Store, place: str, value: Any) -> None:
    (store.directory(KEY) / SPEED).write_text(changed(a_speed(), place, value))
    with pytest.warns(UserWarning, match=f"{KEY}/{SPEED} cannot be read: {place}: .*it is {value}"):
        assert store.speed(KEY) is None


@pytest.mark.parametrize("place", ["quality.y.auc", "quality.y.logloss", "quality.y.ece", "pack_gap.y.auc"])
def test_a_metric_that_does_not_exist_is_no_mistake(store: Store, place: str) -> None:
    (store.directory(KEY) / RESULT).write_text(changed(GOOD, place, "NaN"))
    assert len(store.results()) == 2


@pytest.mark.parametrize("of", ["store", "archive"])
def test_a_merge_refuses_what_cannot_be_and_says_so(store: Store, tmp_path: Path, of: str) -> None:
    (store.directory(KEY) / RESULT).write_text(changed(GOOD, "quality.y.auc", 7.5))
    source = store.out
    if of == "archive":
        source = tmp_path / ARCHIVE
        write_archive(store, source)
    named = f"{source}: {KEY}" if of == "archive" else f"{store.runs}/{KEY}"
    with pytest.warns(UserWarning, match=rf"^{named}/{RESULT} cannot be read: quality.y.auc: .*it is 7.5\); left out"):
        done = merge([source], tmp_path / "all")
    assert (done.added, done.refused) == (1, 1)
    assert Store(tmp_path / "all").keys() == ["bb"]


def test_a_merge_leaves_out_a_speed_and_an_environment_that_cannot_be(store: Store, tmp_path: Path) -> None:
    (store.directory(KEY) / SPEED).write_text(changed(a_speed(), "lookups.0.ratio_fp32", -1))
    (store.directory(KEY) / ENVIRONMENT).write_text(
        an_environment().model_dump_json().replace('"cores":2', '"cores":0')
    )
    with pytest.warns(UserWarning, match="cannot be read") as told:
        assert merge([store.out], tmp_path / "all").added == 2
    assert {str(warning.message).split(" ")[0].rpartition("/")[2] for warning in told} == {SPEED, ENVIRONMENT}
    assert sorted(file.name for file in Store(tmp_path / "all").directory(KEY).iterdir()) == [RESULT]


def test_a_run_that_cannot_be_does_not_keep_one_that_can_from_being_merged(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    put(other, GOOD)
    (store.directory(KEY) / RESULT).write_text(changed(GOOD, "bytes", -5))
    with pytest.warns(UserWarning, match="bytes"):
        merge([other.out], store.out)
    assert [result.key for result in store.results()] == sorted([KEY, "bb"])


def test_what_is_committed_of_results_is_in_range() -> None:
    archives = sorted((Path(__file__).resolve().parents[1] / "results").rglob(ARCHIVE))
    assert archives
    for archive in archives:
        kept = pq.read_table(archive)
        for name, record in ((RESULT, Result), (SPEED, Speed), (ENVIRONMENT, Environment)):
            for text in kept.column(name).drop_null().to_pylist():
                record.model_validate_json(text)
