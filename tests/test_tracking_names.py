"""Whatever a suite is called and consists of, MLflow shows it under names of its own; what it refuses costs itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sharkbench.data.columns import Columns
from sharkbench.results.records import Result
from sharkbench.results.store import Store
from sharkbench.runner.events import Event, Message
from sharkbench.runner.tracked import Tracked
from sharkbench.tracking import names, track
from tests import test_tracking
from tests.records import KEY, a_quality, a_result, an_environment, put
from tests.test_tracking import a_full_result, a_suite, runs

store, client = test_tracking.store, test_tracking.client

# Much of what the rules are about, and everything else.
TRICKY = st.text(st.sampled_from("_xX09AFf./: ?!#%-a\n\x00äß\ud800\U0001f600"), min_size=1, max_size=12)


def decoded(name: str) -> str:
    return re.sub(r"_x([0-9A-F]+)_", lambda found: chr(int(found[1], 16)), name)


@given(TRICKY | st.text(min_size=1, max_size=40))
@example("auc_clicks/")
@example("_x41_x42?")
@example("..")
@settings(max_examples=300, deadline=None)
def test_every_name_is_taken_and_no_two_are_one(text: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_param

    legal = names.name(text)
    _validate_metric(legal, 1.0, 0, 0)
    _validate_param(legal, "x")
    assert decoded(legal) == text


@pytest.mark.parametrize(
    "text", ["auc_long view", "train/valid_auc_click", "method.x1.k", "0:qr/train/loss", "auc_é-1.5"]
)
def test_names_that_need_nothing_stay(text: str) -> None:
    assert names.name(text) == text


@pytest.mark.parametrize("sign", ["a", "?", "/", "."])
def test_long_names_are_cut_and_still_differ(sign: str) -> None:
    from mlflow.utils.validation import _validate_metric

    made = [names.name(f"{sign * 400}{end}") for end in ("a", "b", "ab")]
    assert len(set(made)) == 3
    for name in made:
        assert len(name) <= 250
        _validate_metric(name, 1.0, 0, 0)


@given(st.text(max_size=30), st.sampled_from([1, 7, 3000]))
@settings(max_examples=60, deadline=None)
def test_values_fit_and_can_be_stored_by_any_database(text: str, times: int) -> None:
    made = names.value(text * times)
    assert len(made) <= 6000
    assert "\x00" not in made
    made.encode()
    if len(text * times) <= 6000 and text.isprintable():
        assert made == text * times
    if len(text * times) > 6000:
        assert made.endswith(" ...")


def test_a_description_that_is_too_long_names_what_it_leaves_out() -> None:
    columns = {f"column {i}": {"how": "dense"} for i in range(5000)}
    told = {"source": "csv", "path": "a.csv", "numeric": columns, "ignore": list(columns)}
    made = json.loads(names.source(told))
    assert made == {"source": "csv", "path": "a.csv", "ignore": list(columns), "left_out": ["numeric"]} or made == {
        "source": "csv",
        "path": "a.csv",
        "left_out": ["numeric", "ignore"],
    }
    assert len(names.source(told)) <= 65_535
    assert names.source({"path": "a" * 70_000, "ignore": ["b"]}) == '{"ignore": ["b"], "left_out": ["path"]}'
    assert json.loads(names.source({"source": "csv"})) == {"source": "csv"}
    # Even with every setting too long, what is left says so and fits.
    everything = names.source(dict.fromkeys(Columns.model_fields, "x" * 70_000))
    assert sorted(json.loads(everything)["left_out"]) == sorted(Columns.model_fields)


def a_result_of(*labels: str, key: str = KEY, **more: Any) -> Result:
    quality = {label: a_quality(auc=0.5 + i / 10) for i, label in enumerate(labels)}
    return a_result(key, quality=quality, **more)


def test_each_label_has_a_metric_of_its_own_and_none_stops_the_others(store: Store, client: Any) -> None:
    put(store, a_result_of("click?", "click!", key="aa"), an_environment("monday"))
    put(store, a_result_of("clicks/", "a//b", "../c", "d" * 300, key="bb", started="2026-01-01T00:00:01+00:00"))
    settings = {f"a setting {i}": ["x" * 400] * 20 for i in range(150)}
    put(store, a_result_of("click", key="cc", dataset="d" * 9000, method_config=settings, method_label="m" * 300))
    put(store, a_result_of("click", key="dd", status="failed", reason="\x00 and \x1b " + "x" * 9000, kind="data"))
    told: list[str] = []
    assert track(a_suite(), store.out, told.append) == 4
    assert told == []
    found = {child.data.tags["sharkbench.key"]: child for child in runs(client)[1]}
    assert {"auc_click_x3F_": 0.5, "auc_click_x21_": 0.6, "auc": 0.55}.items() <= found["aa"].data.metrics.items()
    assert len([name for name in found["bb"].data.metrics if name.startswith("auc_")]) == 4
    assert len([name for name in found["cc"].data.params if name.startswith("method.a setting")]) == 150
    assert found["dd"].data.tags["sharkbench.reason"].startswith(r"\x00 and \x1b xxx")
    assert track(a_suite(), store.out) == 0


def test_what_is_refused_costs_itself_and_one_line(
    store: Store,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    real = MlflowClient.log_batch

    def log_batch(self: Any, run_id: str, metrics: Any = (), params: Any = ()) -> Any:
        if bad := [e.key for e in (*metrics, *params) if e.key in ("gauc", "seed", "bytes", "auc", "split")]:
            raise MlflowException(f"no {bad[0]}\nhere", error_code=INVALID_PARAMETER_VALUE)
        return real(self, run_id, metrics=metrics, params=params)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    put(store, a_full_result())
    events: list[Event] = []
    tracked = Tracked(a_suite(), store, [], "now", events.append, work=True)
    tracked.keys = [KEY]
    tracked.close(interrupted=False)
    [message] = events
    assert isinstance(message, Message)
    assert message.text.startswith("MLflow refused 'auc' (")
    assert message.text.endswith("; and 2 more; all else is recorded, and all is stored")
    assert "\n" not in message.text
    _, [child] = runs(client)
    assert {"auc_click", "logloss", "ece_click"} <= child.data.metrics.keys()
    assert {"dataset", "method"} <= child.data.params.keys()
    assert {"gauc", "bytes", "seed"}.isdisjoint({*child.data.metrics, *child.data.params})
    assert child.info.status == "FINISHED"
    # It is not asked for again, and what comes later is recorded.
    put(store, a_result("later"))
    told: list[str] = []
    assert track(a_suite(), store.out, told.append) == 1


def test_a_run_that_is_refused_as_a_whole_does_not_stop_the_others(
    store: Store,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    real = MlflowClient.create_run

    def create_run(self: Any, *arguments: Any, run_name: str, **more: Any) -> Any:
        if "unwanted" in run_name:
            raise MlflowException("no such title", error_code=INVALID_PARAMETER_VALUE)
        return real(self, *arguments, run_name=run_name, **more)

    monkeypatch.setattr(MlflowClient, "create_run", create_run)
    put(store, a_result("aa", method_label="unwanted"))
    put(store, a_result("bb", started="2026-01-01T00:00:01+00:00"))
    told: list[str] = []
    assert track(a_suite(), store.out, told.append) == 1
    assert len(told) == 1
    assert "the run 'unwanted" in told[0]
    assert [child.data.tags["sharkbench.key"] for child in runs(client)[1]] == ["bb"]


def test_what_is_sent_at_once_is_no_more_than_a_server_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    sent: list[int] = []
    real = MlflowClient.log_batch

    def log_batch(self: Any, run_id: str, metrics: Any = (), params: Any = ()) -> Any:
        sent.append(sum(len(json.dumps(param.value)) for param in params))
        assert len(metrics) + len(params) <= 100
        return real(self, run_id, metrics=metrics, params=params)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    put(store, a_result_of("click", method_config={f"s{i}": "😀" * 6000 for i in range(100)}))
    assert track(a_suite(), store.out) == 1
    assert sum(sent) > 1_000_000 > 600_000 > max(sent)
