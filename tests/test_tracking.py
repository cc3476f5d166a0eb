"""MLflow shows what the store holds, can be made again from it, and never costs a result or tells a secret."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sharkbench.results.records import Epoch, Result
from sharkbench.results.store import LOG, Store
from sharkbench.runner.events import Event, Message
from sharkbench.runner.tracked import Tracked
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite
from sharkbench.tracking import Tracker, attach, reason, track, tracking_uri, without_secrets
from sharkbench.tracking.client import client_of
from tests.records import KEY, a_quality, a_result, a_speed, an_environment, put


def a_suite(**tracking: Any) -> Suite:
    return load(
        {"name": "s", "datasets": ["synthetic"], "backbones": ["fm"], "methods": ["full"], "tracking": tracking}
    )


def a_full_result(key: str = KEY) -> Result:
    return a_result(
        key,
        quality={
            "click": a_quality(auc=0.7),
            "long view": a_quality(auc=0.9, logloss=0.3, normalized_entropy=0.8, ece=float("nan"), gauc=0.6),
        },
        history=[
            Epoch(
                stage="train",
                epoch=epoch,
                train_loss=1 / epoch,
                valid={"click": {"auc": 0.5 + epoch / 10, "logloss": 0.6}},
                learning_rate=0.1,
                seconds=1.0,
            )
            for epoch in (1, 2)
        ],
        bytes=12,
        budget="0.25",
        method_config={"operation": "mult", "inner": {"name": "x", "k": 2}},
    )


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Store:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(empty_database, out / "mlflow.db")
    return Store(out)


@pytest.fixture
def client(store: Store) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri(a_suite(), store.out))


def runs(client: Any) -> tuple[list[Any], list[Any]]:
    """Parents and children."""
    experiment = client.get_experiment_by_name("s")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return [r for r in found if "mlflow.parentRunId" not in r.data.tags], [
        r for r in found if "mlflow.parentRunId" in r.data.tags
    ]


def test_a_run_becomes_a_child_with_everything_that_is_known(store: Store, client: Any) -> None:
    directory = put(store, a_full_result(), an_environment("monday"))
    (directory / LOG).write_text("said")
    assert track(a_suite(), store.out) == 1

    [parent], [child] = runs(client)
    assert parent.data.tags["sharkbench.invocation"] == "monday"
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.end_time - child.info.start_time == 1500

    params, metrics, tags = child.data.params, child.data.metrics, child.data.tags
    stated = {"dataset": "d", "budget": "0.25", "seed": "0"}
    assert {**stated, "method.operation": "mult", "method.inner": "x", "method.inner.k": "2"}.items() <= params.items()
    assert metrics["auc"] == pytest.approx(0.8)  # the mean over the labels
    assert {"auc_click": 0.7, "auc_long view": 0.9, "gauc": 0.6, "bytes": 12}.items() <= metrics.items()
    assert "ece_long view" not in metrics  # it does not exist
    assert {"sharkbench.status": "ok", "sharkbench.key": KEY, "sharkbench.git_revision": "abc"}.items() <= tags.items()
    curve = client.get_metric_history(child.info.run_id, "train/valid_auc_click")
    assert [(point.step, point.value) for point in curve] == [(0, 0.6), (1, 0.7)]
    [dataset] = child.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("d", "f")
    attached = {file.path for file in client.list_artifacts(child.info.run_id)}
    assert {LOG, "result.json", "environment.json"} <= attached


def test_a_failed_run_is_shown_with_its_reason(store: Store, client: Any) -> None:
    put(store, a_result(status="failed", kind="diverged", reason="epoch 2: nan"))
    track(a_suite(), store.out)
    _, [child] = runs(client)
    assert child.info.status == "FAILED"
    assert child.data.tags["sharkbench.reason"] == "epoch 2: nan"
    assert "auc" not in child.data.metrics


def test_tracking_again_adds_only_what_is_new(store: Store, client: Any) -> None:
    put(store, a_result("aa"), an_environment("monday"))
    assert track(a_suite(), store.out) == 1
    assert track(a_suite(), store.out) == 0
    put(store, a_result("bb"), an_environment("tuesday"))
    put(store, a_result("aa", started="2026-01-02T00:00:00+00:00"), an_environment("tuesday"))  # done again
    assert track(a_suite(), store.out) == 2
    parents, children = runs(client)
    assert sorted(parent.data.tags["sharkbench.invocation"] for parent in parents) == ["monday", "tuesday"]
    assert sorted(child.data.tags["sharkbench.key"] for child in children) == ["aa", "aa", "bb"]


def test_a_speed_that_comes_later_is_added_once(store: Store, client: Any) -> None:
    put(store, a_full_result())
    track(a_suite(), store.out)
    store.write_speed(KEY, a_speed())
    for _ in range(2):
        assert track(a_suite(), store.out) == 0
    _, [child] = runs(client)
    assert child.data.metrics["lookups_per_second"] == 1.0
    assert child.data.tags["sharkbench.timed_on_a_busy_machine"] == "false"
    assert len(client.get_metric_history(child.info.run_id, "lookups_per_second")) == 1
    assert "speed.json" in {file.path for file in client.list_artifacts(child.info.run_id)}


def test_a_record_that_was_cut_off_is_made_again(store: Store, client: Any) -> None:
    put(store, a_full_result(), an_environment("monday"))
    track(a_suite(), store.out)
    _, [child] = runs(client)
    client.update_run(child.info.run_id, status="RUNNING")
    assert track(a_suite(), store.out) == 1
    _, [again] = runs(client)
    assert again.info.run_id != child.info.run_id


def test_large_files_are_linked_and_not_copied(store: Store, client: Any) -> None:
    directory = put(store, a_full_result())
    track(a_suite(), store.out)
    _, [child] = runs(client)
    attached = Path(child.info.artifact_uri.removeprefix("file://"))
    assert (attached / "result.json").samefile(directory / "result.json")


def test_a_database_elsewhere_has_its_files_beside_it(
    store: Store, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "elsewhere" / "all.db"
    file.parent.mkdir()
    shutil.copy(empty_database, file)
    put(store, a_full_result())
    assert track(a_suite(uri=f"sqlite:///{file}"), store.out) == 1
    assert list(file.parent.glob("mlartifacts/**/result.json"))
    assert not (tmp_path / "mlruns").exists()


def test_the_invocation_is_recorded_as_it_goes_and_its_end_too(store: Store, client: Any) -> None:
    put(store, a_result("aa"), an_environment("now"))
    tracker = Tracker(a_suite(), store, "now")
    tracker.add("aa")
    [parent], _ = runs(client)
    assert parent.info.status == "RUNNING"
    (store.out / "leaderboard.csv").write_text("a,b\n")
    tracker.close(interrupted=True)
    [parent], [_] = runs(client)
    assert parent.info.status == "KILLED"
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"suite.json", "leaderboard.csv"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg2://secret@host/db failed", "postgresql+psycopg2://***@host/db failed"),
        ("https://host/x?token=secret&y=1 is down", "https://host/x?*** is down"),
        ("exceeded with url: /path?token=secret/api (refused)", "exceeded with url: /path?*** (refused)"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("a@b.c, see http://host/b", "a@b.c, see http://host/b"),
        ("http://user:pa/ss@host", "http://***@host"),
        ("at http://user:p@ss-w0rd@host:5000/x, refused", "at http://***@host:5000/x, refused"),
        ("http://user:pa?ss@host", "http://***"),
        ("http://host/x?token=se@cret&y=1 is down", "http://*** is down"),
    ],
)
def test_secrets_in_addresses_are_not_told(text: str, shown: str) -> None:
    assert without_secrets(text, "sqlite:////a/b.db") == shown


@pytest.mark.parametrize(
    ("address", "said", "told"),
    [
        ("http://user:pass/word1@host", "url: /word1@host/api, port: 'pass'", "url: /***@host/api, port: '***'"),
        ("postgresql://me:p@ss-w0rd@host/db", 'no host "ss-w0rd@host"', 'no host "***@host"'),
        ("http://user:pass%2Fword@host", "pass/word or pass%2Fword", "***/*** or ***"),
        ("http://user:two words@host/x", "at http://user:two words@host/x/api", "at http://***@host/x/api"),
        ("user:p@ss-w0rd@host", "user:p@ss-w0rd@host/api is unknown", "***@host/api is unknown"),
        ("http://host/x?token=s3cr3t", "s3cr3t is no good", "*** is no good"),
    ],
)
def test_parts_of_a_secret_are_not_told_either(address: str, said: str, told: str) -> None:
    assert without_secrets(said, address) == told


@pytest.mark.parametrize("secret", ["pass/word1", "p@ss-w0rd", "pass?word2", "pass#word3", "pass:word4@x/y"])
def test_no_part_of_a_password_is_in_what_an_unreachable_server_raises(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://someone:{secret}@127.0.0.1:9/records"
    with pytest.raises(Exception) as raised:  # noqa: PT011
        track(a_suite(uri=address), tmp_path)
    told = reason(raised.value, address)
    assert not [part for part in re.split(r"\W+", secret) if len(part) > 2 and part in told], told
    assert "someone" not in told


def test_a_server_that_cannot_be_reached_costs_one_line_without_its_password(store: Store) -> None:
    put(store, a_full_result())
    events: list[Event] = []
    suite = a_suite(uri="mssql+nothing://user:hunter2@localhost/runs")
    tracked = Tracked(suite, store, [], "now", events.append, work=True)
    tracked.stored(KEY)
    tracked.drain()
    tracked.close(interrupted=False)
    [message] = events
    assert isinstance(message, Message)
    assert "could not record everything" in message.text
    assert "hunter2" not in message.text
    assert not [file for file in store.out.rglob("*") if file.is_file() and b"hunter2" in file.read_bytes()]


def test_what_could_not_be_recorded_is_recorded_by_the_next_call(store: Store, client: Any) -> None:
    put(store, a_full_result(), an_environment("earlier"))
    database = store.out / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"not a database at all" * 100)
    for work, broken in ((True, True), (False, False)):
        if not broken:
            database.write_bytes(whole)
        events: list[Event] = []
        tracked = Tracked(a_suite(), store, [], f"now {work}", events.append, work=work)
        tracked.keys = [KEY]
        tracked.close(interrupted=False)
        assert bool(events) == broken
    _, [child] = runs(client)
    assert child.data.tags["sharkbench.key"] == KEY


def test_nothing_to_do_touches_nothing(store: Store) -> None:
    before = (store.out / "mlflow.db").read_bytes()
    Tracked(a_suite(), store, [], "now", lambda event: None, work=False).close(interrupted=False)
    assert (store.out / "mlflow.db").read_bytes() == before


def test_files_hang_on_the_newest_parent_run(store: Store) -> None:
    suite = a_suite()
    assert not attach(suite, store.out, [])
    (store.out / "plots").mkdir(parents=True)
    files = [store.out / "report.html", store.out / "plots" / "a.svg"]
    for file in files:
        file.write_text("x")
    for invocation in ("first", "second"):
        Tracker(suite, store, invocation).close()
    assert attach(suite, store.out, files)
    tracker = Tracker(suite, store)
    names = [a.path for a in tracker.client.list_artifacts(tracker.parents["second"])]
    assert {"report.html", "plots"} <= set(names)
    assert [a.path for a in tracker.client.list_artifacts(tracker.parents["second"], "plots")] == ["plots/a.svg"]
    assert "report.html" not in [a.path for a in tracker.client.list_artifacts(tracker.parents["first"])]
    assert not attach(a_suite(enabled=False), store.out, files)


@pytest.fixture
def silent_server() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server that takes every request and never answers, and who has called."""
    calls: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    calls.append(server.accept()[0])

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", calls
        for call in calls:
            call.close()
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_that_never_answers_costs_a_line_and_few_requests(
    tmp_path: Path, silent_server: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, calls = silent_server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    suite, store, told = a_suite(uri=address), Store(tmp_path / "out"), list[Event]()
    store.out.mkdir()
    put(store, a_full_result())
    tracked = Tracked(suite, store, [], "today", told.append, work=True)
    for _ in range(50):
        tracked.stored(KEY)
    tracked.drain()
    tracked.close(interrupted=False)
    [message] = told
    assert isinstance(message, Message)
    assert "MLflow could not record everything" in message.text
    assert "\n" not in message.text
    assert len(calls) <= 4, "once at the start and once at the end, each tried twice"
    # What was not recorded has no parent run on which the report could be hung: the server is not asked again.
    before = len(calls)
    assert not attach(suite, store.out, [])
    assert len(calls) == before


def test_what_the_user_has_set_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    client_of("http://127.0.0.1:9")
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    client_of("http://127.0.0.1:9")
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
