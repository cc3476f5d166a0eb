"""The store: what is written can be read back, appears as a whole, and survives whoever dies while writing."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from sharkbench.files.durable import write_text
from sharkbench.results.records import Epoch
from sharkbench.results.store import MAX_FILE_BYTES, NOTES, RESULT, SPEED, SPEED_ERROR, Store
from tests.records import KEY, a_quality, a_result, a_speed, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


def test_a_store_that_does_not_exist_is_empty_and_is_not_made_by_reading(store: Store) -> None:
    assert store.results() == []
    assert store.get(KEY) is None
    assert store.environment(KEY) is None
    store.sweep()
    assert not store.out.exists()


def test_what_is_published_is_read_back_equal(store: Store) -> None:
    quality = a_quality(auc=0.7)
    epoch = Epoch(
        stage="train", epoch=0, train_loss=0.1, valid={"y": {"auc": 0.5, "logloss": 0.6}}, learning_rate=0.1,
        seconds=1.0,
    )  # fmt: skip
    result = a_result(quality={"y": quality}, history=[epoch], bytes=12)
    put(store, result)
    assert store.get(KEY) == result
    assert store.results() == [result]


def test_a_metric_that_does_not_exist_survives_as_nan_in_valid_json(store: Store) -> None:
    put(store, a_result(pack_gap={"y": {"auc": math.nan}}))
    text = (store.directory(KEY) / RESULT).read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    found = store.get(KEY)
    assert found is not None
    assert math.isnan(found.pack_gap["y"]["auc"])


def test_nothing_is_seen_before_it_is_published(store: Store) -> None:
    directory = store.begin(KEY)
    write_text(directory / RESULT, a_result().model_dump_json())
    assert store.keys() == []
    store.publish(directory, KEY)
    assert store.keys() == [KEY]


def test_publishing_again_replaces_the_earlier_run_and_leaves_nothing_beside_it(store: Store) -> None:
    put(store, a_result(seconds=1.0))
    put(store, a_result(seconds=2.0))
    found = store.get(KEY)
    assert found is not None
    assert found.seconds == 2.0
    assert [p.name for p in store.runs.iterdir()] == [KEY]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', "\x00" * 50])
def test_a_result_that_cannot_be_read_is_warned_of_and_left_out(store: Store, text: str) -> None:
    put(store, a_result("aa"))
    put(store, a_result("bb"))
    (store.directory("aa") / RESULT).write_text(text)
    with pytest.warns(UserWarning, match="aa/result.json cannot be read"):
        assert [r.key for r in store.results()] == ["bb"]


@pytest.mark.parametrize("kind", ["pipe", "link", "device", "folder", "too large"])
def test_what_is_no_plain_file_is_warned_of_and_not_read(store: Store, tmp_path: Path, kind: str) -> None:
    """Neither waited for, nor followed out of the store, nor read without end: every file that readers ask for."""
    put(store, a_result("aa"))
    put(store, a_result("bb"))
    (store.directory("aa") / RESULT).rename(tmp_path / RESULT)
    made: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "link": lambda file: file.symlink_to(tmp_path / RESULT),
        "device": lambda file: file.symlink_to("/dev/zero"),
        "folder": Path.mkdir,
        "too large": lambda file: (file.touch(), os.truncate(file, MAX_FILE_BYTES + 1)),
    }
    for name in (RESULT, SPEED, NOTES, SPEED_ERROR):
        made[kind](store.directory("aa") / name)
    with pytest.warns(UserWarning, match="aa/result.json cannot be read"):
        assert [r.key for r in store.results()] == ["bb"]
    with pytest.warns(UserWarning, match="cannot be read") as warned:
        assert (store.speed("aa"), store.notes("aa"), store.speed_error("aa")) == (None, {}, None)
    assert len(warned) == 3


@pytest.mark.parametrize("kind", ["pipe", "link", "file"])
def test_a_run_whose_folder_is_none_is_warned_of_and_not_read(store: Store, tmp_path: Path, kind: str) -> None:
    folder = put(store, a_result())
    folder.rename(tmp_path / KEY)
    {"pipe": os.mkfifo, "link": lambda file: file.symlink_to(tmp_path / KEY), "file": Path.touch}[kind](folder)
    assert store.results() == []
    with pytest.warns(UserWarning, match=KEY):
        assert store.get(KEY) is None


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1, "b": [1, {"c": 2}]}', "[" * 99_999])
def test_notes_are_tables_of_rows_whatever_the_file_holds(store: Store, text: str) -> None:
    write_text(put(store, a_result()) / NOTES, text)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert store.notes(KEY) == ({"b": [{"c": 2}]} if "b" in text else {})
    assert len(told) == (text in ("", "[" * 99_999))


def test_a_result_under_a_foreign_key_is_not_believed(store: Store) -> None:
    put(store, a_result("aa")).rename(store.runs / "bb")
    with pytest.warns(UserWarning, match="belongs to another run"):
        assert store.get("bb") is None


@pytest.mark.parametrize("key", ["../x", "", ".tmp", "a/b", "a b"])
def test_no_key_leads_out_of_the_store(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not the key"):
        store.directory(key)


def test_links_in_the_store_are_not_followed(store: Store, tmp_path: Path) -> None:
    put(store, a_result())
    (store.runs / "ff").symlink_to(tmp_path)
    assert store.keys() == [KEY]


def test_speed_is_added_to_a_finished_run_and_clears_the_earlier_error(store: Store) -> None:
    put(store, a_result())
    store.write_speed(KEY, "no kernel")
    assert store.speed(KEY) is None
    assert store.speed_error(KEY) == "no kernel"
    store.write_speed(KEY, a_speed())
    assert store.speed(KEY) == a_speed()
    assert store.speed_error(KEY) is None
    assert sorted(p.name for p in store.directory(KEY).iterdir()) == [RESULT, SPEED]


def test_a_write_that_fails_leaves_the_earlier_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    write_text(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_sweep_removes_what_the_dead_left_and_spares_the_living(store: Store) -> None:
    dead, alive = store.begin("aa"), store.begin("bb")
    holder = in_other_process(hold, store.out, "bb")
    try:
        store.sweep()
    finally:
        holder()
    assert not dead.exists()
    assert alive.exists()


def test_sweep_brings_back_a_run_whose_replacement_was_killed_halfway(store: Store) -> None:
    put(store, a_result())
    store.directory(KEY).rename(store.runs / f".old-{KEY}-0000")
    store.sweep()
    assert store.get(KEY) == a_result()


def test_the_lock_of_a_process_that_dies_is_free_again(store: Store) -> None:
    holder = in_other_process(hold, store.out, KEY)
    assert not can_lock(store.lock(KEY))
    holder()
    assert can_lock(store.lock(KEY))


def can_lock(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return True
    except TimeoutError:
        return False


def hold(out: Path, key: str, ready: Any) -> None:
    lock = Store(out).lock(key)
    lock.acquire()
    ready.set()
    multiprocessing.Event().wait(60)


def in_other_process(target: Callable[..., None], *args: Any) -> Callable[[], None]:
    """Start ``target``, wait until it says that it is ready, and return what kills it."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=target, args=(*args, ready), daemon=True)
    process.start()
    assert ready.wait(60)

    def kill() -> None:
        process.kill()
        process.join()

    return kill
