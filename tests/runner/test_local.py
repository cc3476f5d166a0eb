"""Running a plan: every way in which a run can end is stored, nothing is done twice, nothing is left behind."""

from __future__ import annotations

import errno
import json

import psutil
import pytest

from sharkbench.data.sources.synthetic import SyntheticSpec
from sharkbench.errors import DataError, InputError
from sharkbench.results.store import LOG, RESULT, SPEC
from sharkbench.runner import Summary, local
from sharkbench.runner.events import EpochEnded, Event, Message, RunEnded, RunStarted
from tests.runner.conftest import Bench


def test_a_run_is_stored_with_spec_result_log_and_artifact(bench: Bench) -> None:
    assert bench.run("fine") == Summary(done=1)
    [result] = bench.store.results()
    directory = bench.store.directory(result.key)
    assert sorted(file.name for file in directory.iterdir()) == [LOG, "packed.safetensors", RESULT, SPEC]
    assert "log of fine" in (directory / LOG).read_text()
    spec = bench.store.spec(result.key)
    assert spec is not None
    assert spec.key == result.key
    seedless = spec.model_copy(update={"seed": 0})
    assert (result.setting, result.comparison) == (seedless.key, seedless.full_key)
    assert [type(event) for event in bench.events] == [RunStarted, EpochEnded, RunEnded]
    assert bench.diary("measured") == []  # the suite wants no speed
    assert (bench.out / "leaderboard.csv").exists()


WAYS = {
    "raises": ("method", "ValueError: of no use"),
    "recurses": ("method", "RecursionError: maximum recursion depth exceeded"),
    "diverges": ("diverged", "epoch 2, step 7: the loss is nan"),
    "no data": ("data", "file.csv, row 3: ragged"),
    "no memory": ("out of memory", "MemoryError"),
    "no torch memory": ("out of memory", "RuntimeError: [enforce fail at alloc_cpu.cpp:117] can't allocate memory"),
    "exits": ("method", "the process ended with exit code 3 and without a result; see log.txt"),
    "exits hard": ("method", "the process ended with exit code 4 and without a result; see log.txt"),
    "crashes": ("method", "crashed in native code (SIGSEGV); see log.txt"),
    "is killed": ("killed", "the process was ended from outside (SIGKILL)"),
}


def test_a_failure_is_stored_with_kind_reason_and_log_and_the_others_go_on(bench: Bench) -> None:
    summary = bench.run("infeasible", *WAYS, "fine", jobs=2)
    assert summary == Summary(done=1, failed=len(WAYS), infeasible=1)
    results = {result.method_label: result for result in bench.store.results()}
    assert results["fine"].status == "ok"
    assert (results["infeasible"].status, results["infeasible"].reason) == ("infeasible", "too few bytes")
    assert {way: (results[way].kind, results[way].reason) for way in WAYS} == WAYS
    for way in ("infeasible", *WAYS):
        directory = bench.store.directory(results[way].key)
        assert sorted(file.name for file in directory.iterdir()) == [LOG, RESULT, SPEC]
    log = {way: (bench.store.directory(results[way].key) / LOG).read_text() for way in WAYS}
    assert "Traceback" in log["raises"]
    assert "Segmentation fault" in log["crashes"]


def test_what_is_done_again(bench: Bench) -> None:
    ways = ("fine", "raises", "is killed", "infeasible")
    assert bench.run(*ways) == Summary(done=1, failed=2, infeasible=1)
    # Whoever was ended from outside is done again without being asked for.
    assert bench.run(*ways) == Summary(done=1, failed=2, infeasible=1, cached=3)
    assert len(bench.diary("began")) == 5
    assert bench.run(*ways, retry_failed=True) == Summary(done=1, failed=2, infeasible=1, cached=2)
    [fine] = [result for result in bench.store.results() if result.status == "ok"]
    (bench.store.directory(fine.key) / "mark").touch()
    assert bench.run(*ways, force=True) == Summary(done=1, failed=2, infeasible=1)
    assert not (bench.store.directory(fine.key) / "mark").exists()


def test_the_same_cell_twice_in_a_plan_is_one_run(bench: Bench) -> None:
    [run] = bench.plan("fine")
    assert bench.run_plan([run, run.model_copy(update={"method_label": "other"})]) == Summary(done=1)


def test_a_timeout_ends_a_run_and_all_that_it_has_started(bench: Bench) -> None:
    assert bench.run("hangs with children", "fine", timeout=6.0, jobs=2) == Summary(done=1, failed=1)
    [hung] = [result for result in bench.store.results() if result.status == "failed"]
    assert (hung.kind, hung.reason) == ("timeout", "stopped after its timeout of 6 s; see log.txt")
    assert "hang_with_children" in (bench.store.directory(hung.key) / LOG).read_text()
    [children] = bench.diary("children")
    # They are dead at once, and gone when the system has got round to it.
    assert not psutil.wait_procs([psutil.Process(int(p)) for p in children.split() if psutil.pid_exists(int(p))], 30)[1]


def test_two_runs_at_a_time_are_two_processes_that_overlap(bench: Bench) -> None:
    bench.run(*["sleeps in company"] * 4, jobs=2)
    running, most = 0, 0
    for line in (bench.out / "diary.txt").read_text().splitlines():
        running += 1 if line.startswith("began") else -1
        most = max(most, running)
    assert most == 2
    assert len({entry.split()[1] for entry in bench.diary("began")}) == 4


def test_runs_that_start_from_the_same_full_model_do_not_wait_for_each_other_side_by_side(bench: Bench) -> None:
    first, second = bench.plan("sleeps", "fine")
    second = second.model_copy(update={"seed": first.seed, "code": "2"})
    assert first.full_key == second.full_key
    bench.run_plan([first, second], jobs=2)
    diary = (bench.out / "diary.txt").read_text().splitlines()
    assert [line.split()[:2] for line in diary] == [
        ["began", first.key], ["ended", first.key], ["began", second.key], ["ended", second.key],
    ]  # fmt: skip


def test_of_several_at_a_time_shared_models_go_first_then_the_longest_runs(bench: Bench) -> None:
    short, maker, user, long = bench.plan("short", "maker", "user", "waits to go")
    user = user.model_copy(update={"seed": maker.seed, "code": "2"})
    assert user.full_key == maker.full_key
    runs = [short, maker, user, long]
    go = bench.out / "go"
    bench.out.mkdir()
    go.touch()
    bench.run_plan(runs)
    assert started(bench) == ["short", "maker", "user", "waits to go"]  # one at a time, as planned
    for result in bench.store.results():
        seconds = {"short": 2.0, "maker": 1.0, "user": 5.0, "waits to go": 9.0}[result.method_label]
        file = bench.store.directory(result.key) / RESULT
        file.write_text(result.model_copy(update={"seconds": seconds}).model_dump_json())
    go.unlink()

    def watch(event: Event) -> None:
        bench.events.append(event)
        if isinstance(event, RunStarted) and event.spec.key == user.key:
            go.touch()  # the longest run outlasts the maker, so that its user is the next to be chosen

    bench.run_plan(runs, jobs=2, force=True, on_event=watch)
    assert started(bench) == ["maker", "waits to go", "user", "short"]


def started(bench: Bench) -> list[str]:
    """Labels of the runs in the order in which they were started, since this was asked before."""
    labels = [event.spec.method_label for event in bench.events if isinstance(event, RunStarted)]
    bench.events.clear()
    return labels


def test_what_another_process_works_on_is_waited_for_and_said_once(bench: Bench) -> None:
    runs = bench.plan("fine", "fine", "fine")
    locks = [bench.store.lock(run.key) for run in runs[:2]]
    for lock in locks:
        lock.acquire()
    others: list[str] = []

    def see(event: Event) -> None:
        if isinstance(event, Message):
            others.append(event.text)
        if isinstance(event, RunEnded) and locks:
            assert event.result.key == runs[2].key  # what nobody works on goes first
            while locks:
                locks.pop().release()

    assert bench.run_plan(runs, on_event=see) == Summary(done=3)
    assert others == [f"another sharkbench is at work in {bench.out}: no run is done twice, its own are waited for"]


def test_a_full_disk_stops_the_plan_and_is_nobody_s_failure(bench: Bench) -> None:
    assert bench.run("disk full", "fine") == Summary(failed=1)
    assert bench.store.results() == []
    [message] = [event.text for event in bench.events if isinstance(event, Message)]
    assert "cannot be stored" in message
    assert "No space left on device" in message
    assert len(bench.diary("began")) == 1


def test_data_that_cannot_be_prepared_fails_its_runs_in_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = bench.plan("fine", "sleeps")
    bench.cache = bench.out.parent / "empty"

    def ragged(*_: object) -> None:
        raise DataError("train.csv, row 7: 3 values\nwhere 4 are needed")

    monkeypatch.setattr(local, "prepare", ragged)
    assert bench.run_plan(runs) == Summary(failed=2)
    assert {(result.kind, result.reason) for result in bench.store.results()} == {
        ("data", "train.csv, row 7: 3 values where 4 are needed")
    }
    assert bench.diary("began") == []


def test_an_unexpected_error_is_its_data_set_s_own_and_the_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = bench.plan("fine")
    other = runs[0].model_copy(update={"dataset": SyntheticSpec(rows=2000), "fingerprint": "f" * 64})

    def broken(*_: object) -> None:
        raise KeyError("Field exists 2 times")

    monkeypatch.setattr(local, "prepare", broken)
    assert bench.run_plan([other, *runs]) == Summary(done=1, failed=1)
    [failed] = [result for result in bench.store.results() if result.status == "failed"]
    assert (failed.key, failed.kind, failed.reason) == (other.key, "data", "KeyError: 'Field exists 2 times'")
    log = (bench.store.directory(other.key) / "log.txt").read_text()
    assert "Traceback" in log
    assert "in broken" in log


def test_a_full_disk_is_no_data_set_s_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = bench.plan("fine")
    bench.cache = bench.out.parent / "empty"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local, "prepare", full)
    with pytest.raises(OSError, match="No space left"):
        bench.run_plan(runs)
    assert bench.store.results() == []


def test_an_output_that_cannot_be_written_to_is_one_line(bench: Bench) -> None:
    bench.out.write_text("a file")
    with pytest.raises(InputError, match="cannot be written to"):
        bench.run("fine")


def test_nothing_is_left_behind(bench: Bench) -> None:
    own = psutil.Process()
    bench.run("fine", "raises", "is killed", "sleeps", jobs=2)
    files, threads, children = own.num_fds(), own.num_threads(), own.children()
    bench.run("fine", "raises", "is killed", "sleeps", jobs=2, force=True)
    assert own.num_fds() == files
    assert own.num_threads() <= threads
    assert own.children() == children
    assert not [path for path in bench.store.runs.iterdir() if path.name.startswith(".")]


def test_what_a_dead_process_left_is_swept_and_a_damaged_result_done_again(bench: Bench) -> None:
    bench.store.begin("0123456789abcdef0123")
    bench.run("fine")
    assert [path.name for path in bench.store.runs.iterdir()] == bench.store.keys()
    [key] = bench.store.keys()
    (bench.store.directory(key) / RESULT).write_text(json.dumps({"key": key}))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert bench.run("fine") == Summary(done=1)


def test_a_stored_run_takes_the_label_that_the_suite_gives_it_now(bench: Bench) -> None:
    bench.run("fine")
    assert bench.run("renamed").cached == 1  # the label decides nothing
    assert [result.method_label for result in bench.store.results()] == ["renamed"]
    assert "renamed" in (bench.out / "leaderboard.csv").read_text()
