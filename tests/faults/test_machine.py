"""A machine turns on a suite: no room, memory, clock, MLflow. What is stored stays; the rest is done later."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sharkbench.data import prepare as preparing
from sharkbench.errors import ArtifactError
from sharkbench.results.store import Store
from sharkbench.runner import Summary, run_suite, schedule
from sharkbench.runner.events import EpochEnded, Message
from sharkbench.runner.execute import measure
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from tests.faults.counting import Count
from tests.faults.small_suite import SUITE, Folder, leftovers, wait_for
from tests.runner.conftest import Bench


def run_here(folder: Path, execute: str = "", events: list[Any] | None = None, **changes: Any) -> Summary:
    """The small suite in this process, its runs in theirs."""
    suite = load({**SUITE, **changes})
    cache = folder / "cache"
    more = {"execute": f"tests.faults.broken:{execute}"} if execute else {}
    watch = events.append if events is not None else None
    return run_suite(suite, plan(suite, cache_dir=cache), folder / "out", cache_dir=cache, on_event=watch, **more)


def test_out_of_memory_in_one_method_costs_the_others_nothing(tmp_path: Path, count: Count) -> None:
    assert run_here(tmp_path, "out_of_memory_in_qr", seeds=1) == Summary(done=3, failed=1)
    kinds = {result.method_label: result.kind or result.status for result in Store(tmp_path / "out").results()}
    assert kinds == {"full": "ok", "hash": "ok", "int8": "ok", "qr": "out of memory"}
    count("out of memory in one method: stored as that, the others go on")


def test_a_loss_that_explodes_is_divergence_with_its_epoch_and_no_auc(tmp_path: Path, count: Count) -> None:
    train = {**SUITE["train"], "optimizer": "sgd", "learning_rate": 1e30, "clip_norm": None}
    assert run_here(tmp_path, methods=["full"], seeds=1, train=train) == Summary(failed=1)
    [result] = Store(tmp_path / "out").results()
    assert (result.kind, result.quality) == ("diverged", {})
    assert result.reason is not None
    assert "epoch 1" in result.reason
    count("divergence: told with its epoch, no AUC")


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.faults)])
def test_a_run_killed_in_training_goes_on_from_its_epoch(kills: int, tmp_path: Path, count: Count) -> None:
    """SIGKILL to the process of the run right after an epoch; the same bits come out of fewer epochs."""
    train = {**SUITE["train"], "epochs": 6, "patience": 9}
    only = {"methods": ["hash"], "seeds": 1, "train": train}
    assert run_here(tmp_path / "wanted", **only).done == 1
    [wanted] = Folder(tmp_path / "wanted").outcome().values()
    here = tmp_path / "killed"
    for kill in range(kills):
        events: list[Any] = []
        assert run_here(here, "killed_after_an_epoch", events, **only).failed == 1
        assert next(event.epoch.epoch for event in events if isinstance(event, EpochEnded)) == kill + 1
    events = []
    assert run_here(here, "often_kept", events, **only).done == 1
    assert len([event for event in events if isinstance(event, EpochEnded)]) == 6 - kills
    assert list(Folder(here).outcome().values()) == [wanted]
    assert leftovers(here / "out") == []
    count("runs killed in training: resumed from their last epoch, the same bits", kills)


def lose_a_page(file: Path) -> None:
    """Zeros where the last of the file's numbers were, as a disk or a crash leaves them; its length stays."""
    content = file.read_bytes()
    at = max(0, len(content) - 3000)
    file.write_bytes(content[:at] + bytes(2000) + content[at + 2000 :])


def test_lost_pages_are_told_of_and_mended_and_change_no_number(tmp_path: Path, count: Count) -> None:
    only = {"methods": ["full", "int8"], "seeds": 1}
    assert run_here(tmp_path, **only) == Summary(done=2)
    folder = Folder(tmp_path)
    wanted = folder.outcome()
    [labels] = (tmp_path / "cache" / "prepared").glob("*/train.arrow")
    [weights] = (folder.out / "shared").glob("*/model.safetensors")
    damaged = [labels, weights]
    for file in damaged:
        lose_a_page(file)
    shutil.rmtree(folder.out / "runs")
    events: list[Any] = []
    assert run_here(tmp_path, events=events, **only) == Summary(done=2)
    assert folder.outcome() == wanted
    told = [event.text for event in events if isinstance(event, Message)]
    assert len(told) == 2
    for line, file, what in zip(told, damaged, ("is prepared again", "is trained again"), strict=True):
        assert line.startswith(f"{file} is damaged: its bytes are not those that were written; ")
        assert what in line
    count("lost pages in prepared data and shared models: told, mended, the same bits", 2)

    [run] = [run for run in plan(load({**SUITE, **only}), cache_dir=tmp_path / "cache") if run.method_label == "int8"]
    stored = folder.store.directory(run.key)
    for name in ("packed.safetensors", "backbone.safetensors"):
        kept = (stored / name).read_bytes()
        lose_a_page(stored / name)
        with pytest.raises(ArtifactError, match=f"{name} is damaged"):
            measure(run, stored, cache_dir=tmp_path / "cache")
        (stored / name).write_bytes(kept)
        count("lost pages in artifacts: refused where they are measured")


def test_where_the_cache_has_no_room_the_runs_of_other_data_go_on(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = [{**SUITE["datasets"][0], "name": name, "seed": number} for number, name in enumerate(("one", "two"))]
    only = {"methods": ["hash"], "seeds": 1, "datasets": datasets}
    real = preparing._make

    def full(spec: Any, *more: Any) -> None:
        if spec.name == "one":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(spec, *more)

    events: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_make", full)
        assert run_here(tmp_path, events=events, **only) == Summary(done=1, failed=1)
    [message] = [event.text for event in events if isinstance(event, Message)]
    assert message.startswith(f"{tmp_path / 'cache'}: prepared data cannot be written there (No space left on device)")
    assert [result.dataset for result in Store(tmp_path / "out").results()] == ["two"]
    assert run_here(tmp_path, **only) == Summary(done=2, cached=1)
    count("no room in the cache: one line, the runs of other data go on, the next call does the rest")


def recorded_runs(database: Path) -> int:
    """Runs of a suite that stand in a database of MLflow."""
    connection = sqlite3.connect(database)
    [found] = connection.execute("SELECT count(DISTINCT value) FROM tags WHERE key = 'sharkbench.key'").fetchone()
    connection.close()
    return int(found)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """Makes a file system of its own with so many KiB of room; ``room(KiB)`` changes it."""
    place = tmp_path / "disk"
    place.mkdir()

    def room(kib: int | str, flags: str = "") -> Path:
        mounted = place.is_mount()
        options = f"{'remount,' if mounted else ''}size={kib}k{flags}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("a file system of its own cannot be mounted here")
        return place

    yield room
    subprocess.run(["umount", "-l", str(place)], capture_output=True)


@pytest.mark.faults
@pytest.mark.parametrize("kib", [4, 40, 100, 160, 250, 400])
def test_a_full_disk_stops_in_one_line_and_room_goes_on(
    kib: int, tmp_path: Path, small_disk: Any, count: Count
) -> None:
    """From no room at all (preparation) over a part of an artifact to most of the suite."""
    wanted = Folder(tmp_path / "wanted")
    assert wanted.run()[0] == 0
    folder = Folder(small_disk(kib) / "work") if kib > 4 else Folder(tmp_path / "work")
    if kib <= 4:  # the data lies on the disk that is full, the results do not
        folder.cache = small_disk(kib) / "cache"
    code, said = folder.run()
    # Where all results fit, it is the report that does not.
    assert code in (1, 2) or "the report could not be written" in said, said
    assert "Traceback" not in said
    assert "this is a bug" not in said
    assert "No space left" in said or "no room" in said.lower(), said
    assert {key: wanted.outcome()[key] for key in folder.outcome()} == folder.outcome()
    small_disk(50_000)
    code, said = folder.run("--retry-failed")
    assert code == 0, said
    assert folder.outcome() == wanted.outcome()
    count("full disks: one line, and the next call ends with the same bits")


@pytest.mark.faults
def test_a_read_only_output_is_one_line(small_disk: Any, tmp_path: Path, count: Count) -> None:
    folder = Folder(tmp_path / "work")
    folder.out = small_disk(1000, ",ro") / "out"
    code, said = folder.run()
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert "cannot be written to (Read-only file system)" in said
    count("read-only output: one line, exit code 2")


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    hours = iter(range(10_000))
    backwards = lambda: (datetime(2030, 1, 1, tzinfo=UTC) - timedelta(hours=next(hours))).isoformat()  # noqa: E731
    monkeypatch.setattr(schedule, "now", backwards)
    monkeypatch.setattr("time.time", lambda: 2e9 - 3600 * next(hours))
    assert bench.run("fine", "is killed", "raises") == Summary(done=1, failed=2)
    assert bench.run("fine", "is killed", "raises") == Summary(done=1, failed=2, cached=2)
    assert bench.run("fine", "raises", force=True) == Summary(done=1, failed=1)
    assert len(bench.diary("began")) == 6
    count("a clock that goes backwards: nothing lost, nothing done twice")


@pytest.mark.faults
def test_two_real_calls_at_once_do_each_run_once(tmp_path: Path, count: Count) -> None:
    wanted = Folder(tmp_path / "wanted")
    assert wanted.run()[0] == 0
    folder = Folder(tmp_path / "both")
    both = [folder.start("--jobs", "2") for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=280)
        assert process.returncode == 0, said
    assert folder.outcome() == wanted.outcome()
    logs = [(folder.store.directory(key) / "log.txt").read_text() for key in folder.results()]
    assert all(log.count(" ok after ") + log.startswith("ok after") + log.count("\nok after ") == 1 for log in logs)
    assert leftovers(folder.out) == []
    count("two calls at once on one directory: each run once, both end well")


@pytest.mark.faults
@pytest.mark.parametrize("state", ["locked", "lost", "of an older version", "garbage"])
def test_mlflow_in_any_state_costs_no_result_and_is_caught_up_with(state: str, tmp_path: Path, count: Count) -> None:
    folder = Folder(tmp_path / "work", methods=["full", "hash"], seeds=1, tracking={"enabled": True})
    if state == "lost":
        assert folder.run()[0] == 0
        (folder.out / "mlflow.db").unlink()
    else:
        code, said = folder.run("--only", "method=full")
        assert code == 0, said
        database = folder.out / "mlflow.db"
        connection = sqlite3.connect(database, isolation_level=None)
        if state == "locked":
            connection.execute("BEGIN EXCLUSIVE")
        elif state == "of an older version":
            connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
            connection.close()
        else:
            connection.close()
            kept = database.read_bytes()
            database.write_bytes(b"no database" * 500)
        code, said = folder.run()
        assert code == 0, said
        assert "MLflow could not record everything" in said
        assert "Traceback" not in said
        assert len(folder.results()) == 2
        if state == "locked":
            connection.execute("COMMIT")
            connection.close()
        elif state == "garbage":
            database.write_bytes(kept)
        else:
            database.unlink()
    code, said = folder.run(command="track")
    assert code == 0, said
    assert int(said.split()[0]) >= 1
    assert recorded_runs(folder.out / "mlflow.db") == 2
    count("MLflow locked, lost, old or garbage: results kept, all caught up with later")


@pytest.mark.faults
@pytest.mark.parametrize("kib", [40, 700, 930])
def test_no_room_for_mlflow_costs_no_result_and_is_caught_up_with(
    kib: int, tmp_path: Path, small_disk: Any, count: Count
) -> None:
    """From no room for its first table to a database that is made and cannot take the second run."""
    database = small_disk(kib) / "mlflow.db"
    tracking = {"enabled": True, "uri": f"sqlite:///{database}"}
    folder = Folder(tmp_path / "work", methods=["full", "hash"], seeds=1, tracking=tracking)
    code, said = folder.run()
    assert code == 0, said
    assert "MLflow could not record everything" in said
    assert "Traceback" not in said
    assert len(folder.results()) == 2
    small_disk(50_000)
    code, said = folder.run(command="track")
    assert code == 0, said
    assert recorded_runs(database) == 2
    count("no room for MLflow: results kept, all caught up with later")


@pytest.mark.faults
def test_64_short_runs_leak_nothing(tmp_path: Path, count: Count) -> None:
    import psutil

    bench = Bench(tmp_path)
    own = psutil.Process()
    bench.run(*["fine"] * 4, jobs=2)
    files, threads, memory = own.num_fds(), own.num_threads(), own.memory_info().rss
    ways = ["fine", "sleeps", "raises", "is killed"] * 16
    assert bench.run(*ways, jobs=2, force=True) == Summary(done=32, failed=32)
    assert own.num_fds() == files
    assert own.num_threads() <= threads
    assert own.memory_info().rss - memory < 50 << 20
    wait_for(lambda: own.children(recursive=True) == [])
    assert leftovers(bench.out) == []
    count("64 short runs, two at a time: no file, process, thread or memory left")
