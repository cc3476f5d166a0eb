"""A plan divided among machines: everything once, and what shares a full-precision model in one place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sharkbench.errors import InputError
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec
from sharkbench.suite.shards import shard

SUITE: dict[str, Any] = {
    "name": "s",
    "datasets": [{"source": "synthetic", "rows": 1000}, {"source": "synthetic", "rows": 2000, "name": "large"}],
    "backbones": ["dnn", "fm"],
    "methods": ["full", "hash", "qr"],
    "budgets": [0.5, 0.1],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def runs() -> list[RunSpec]:
    return plan(load(SUITE))


@pytest.mark.parametrize("count", range(1, 9))
def test_every_run_is_in_one_shard_and_full_models_are_not_split(runs: list[RunSpec], count: int) -> None:
    parts = [shard(runs, f"{index}/{count}") for index in range(1, count + 1)]
    assert Counter(run.key for part in parts for run in part) == Counter(run.key for run in runs)
    models = [{run.full_key for run in part} for part in parts]
    assert sum(map(len, models)) == len(set.union(*models)) == 8
    assert max(map(len, models)) - min(map(len, models)) <= 1


def test_a_shard_keeps_the_order_of_the_plan_and_gets_some_of_every_data_set_and_backbone(runs: list[RunSpec]) -> None:
    order = {run.key: place for place, run in enumerate(runs)}
    for part in ("1/2", "2/2"):
        mine = shard(runs, part)
        assert [order[run.key] for run in mine] == sorted(order[run.key] for run in mine)
        assert {(run.dataset.name, run.backbone.name) for run in mine} == {
            (data, backbone) for data in ("synthetic", "large") for backbone in ("dnn", "fm")
        }


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_what_cannot_be_meant_is_refused(runs: list[RunSpec], part: str) -> None:
    with pytest.raises(InputError, match="write it as i/n"):
        shard(runs, part)


def test_more_shards_than_full_models_are_refused_on_every_machine(runs: list[RunSpec]) -> None:
    for part in ("1/9", "9/9"):
        with pytest.raises(InputError, match="8 shards are the most"):
            shard(runs, part)
