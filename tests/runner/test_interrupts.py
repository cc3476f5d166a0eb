"""Whoever is killed, and however: no process is left, no half-made run is read, and the next call continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sharkbench.runner import Summary
from tests.runner.conftest import Bench

ROOT = Path(__file__).resolve().parents[2]


def in_background(bench: Bench, *ways: str, jobs: int = 1) -> subprocess.Popen[str]:
    """The plan in a process (and a process group) of its own."""
    command = [sys.executable, "-m", "tests.runner.faked_run", str(bench.out.parent), str(jobs), *ways]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background of a script inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)


def alive(pids: set[int]) -> set[int]:
    """Those that still run; one that nobody has collected yet has ended all the same."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return {pid for pid in pids if runs(pid)}


def all_below(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_cleanly_and_the_next_call_continues(bench: Bench, number: int) -> None:
    process = in_background(bench, "fine", "hangs")
    wait_for(lambda: len(bench.diary("began")) == 2)
    below = all_below(process.pid)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted=True" in said
    assert not alive(below)
    assert sorted(path.name for path in bench.store.runs.iterdir()) == bench.store.keys()
    assert [result.method_label for result in bench.store.results()] == ["fine"]
    assert (bench.out / "leaderboard.csv").exists()
    assert bench.run("fine", "sleeps") == Summary(done=2, cached=1)


@pytest.mark.parametrize("whom", ["the parent", "its process group", "the fork server"])
def test_sigkill_leaves_no_process_and_nothing_half_made(bench: Bench, whom: str) -> None:
    process = in_background(bench, "fine", "hangs with children")
    wait_for(lambda: bench.diary("children"))
    below = all_below(process.pid) | {int(pid) for pid in bench.diary("children")[0].split()}
    if whom == "the parent":
        process.kill()
    elif whom == "its process group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        [server] = psutil.Process(process.pid).children()
        run = {child.pid for child in server.children()}
        server.kill()
        wait_for(lambda: not alive(run))
        said, _ = process.communicate(timeout=60)
        assert "failed=1" in said
        below = run
    process.communicate(timeout=60)
    wait_for(lambda: not alive(below))
    assert [result.method_label for result in bench.store.results() if result.status == "ok"] == ["fine"]
    assert bench.run("fine", "sleeps") == Summary(done=2, cached=1)
    assert sorted(path.name for path in bench.store.runs.iterdir()) == bench.store.keys()


def test_two_at_once_do_every_run_once_and_both_end_well(bench: Bench) -> None:
    both = [in_background(bench, *["sleeps"] * 6, jobs=2) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "Summary(done=6, failed=0" in said
    assert len(bench.diary("began")) == 6
    assert len(bench.store.results()) == 6
