"""SIGKILL at random moments: the next call finishes, with the results that an undisturbed one has, to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.counting import Count, rounds
from tests.faults.small_suite import Folder, leftovers, wait_for

WHOM = ("the process group", "a process of a run", "the parent only")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], float]:
    """What the suite comes to, and how long it takes here."""
    folder = Folder(tmp_path_factory.mktemp("undisturbed"))
    began = time.monotonic()
    code, said = folder.run("--jobs", "2")
    assert code == 0, said
    return folder.outcome(), time.monotonic() - began


def worker_of(parent: int) -> psutil.Process | None:
    """A process at work on a run: a grandchild, below the process that forks."""
    try:
        below = [run for server in psutil.Process(parent).children() for run in server.children()]
    except psutil.NoSuchProcess:
        return None
    return below[0] if below else None


@pytest.mark.parametrize("number", rounds(3, 30))
def test_killed_anywhere_the_next_call_ends_as_if_nothing_had_happened(
    number: int, tmp_path: Path, undisturbed: tuple[dict[str, dict[str, Any]], float], count: Count
) -> None:
    chance, whom = random.Random(number), WHOM[number % 3]
    wanted, seconds = undisturbed
    # MLflow takes longer than all runs: often, but not always, it is there to be hit too.
    tracked = number >= 3 and chance.random() < 0.4
    for attempt in range(9):  # a machine that has become faster since is met earlier
        folder = Folder(tmp_path / f"run{attempt}", tracking={"enabled": tracked})
        process = folder.start("--jobs", "2")
        time.sleep(chance.uniform(0.05, 0.95) * seconds * 0.8**attempt)
        if process.poll() is None:
            break
    if whom == "a process of a run":
        wait_for(lambda: worker_of(process.pid) or process.poll() is not None)
        if worker := worker_of(process.pid):
            worker.kill()
        said, _ = process.communicate(timeout=280)
        assert process.returncode in (0, 1), said
    else:
        # The parent leads its group; what it has started has left it, and must end all the same.
        (os.killpg if whom == "the process group" else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
    early = process.returncode != 0
    wait_for(lambda: not folder.processes())

    before, ok = folder.stored_files(), {k for k, r in folder.results().items() if r.status == "ok"}
    assert {key: wanted[key] for key in ok} == {key: folder.outcome()[key] for key in ok}
    code, said = folder.run("--jobs", "2")
    assert code == 0, said
    assert folder.outcome() == wanted
    after = folder.stored_files()
    assert [key for key in ok if after[key] != before[key]] == [], "what was stored was trained again"
    assert not folder.processes()
    assert leftovers(folder.out) == []
    if early:
        count(f"killed at a random moment ({whom}): the next call ends with the same bits, nothing trained twice")
