"""What a failure is called where the kernel has ended a process, for lack of memory or not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sharkbench.runner import failures, processes
from sharkbench.runner.failures import kind_of_exit, memory_kills
from tests.runner.conftest import Bench


@pytest.mark.parametrize(
    ("code", "out_of_memory", "kind"),
    [
        (-signal.SIGKILL, True, "out of memory"),
        (-signal.SIGKILL, False, "killed"),
        (-signal.SIGTERM, True, "killed"),  # the kernel ends with SIGKILL: some other process lacked memory
        (-signal.SIGSEGV, True, "method"),
        (1, True, "method"),
    ],
)
def test_a_kill_is_for_lack_of_memory_where_the_kernel_counted_one(code: int, out_of_memory: bool, kind: str) -> None:
    found, reason = kind_of_exit(code, out_of_memory=out_of_memory, log="")
    assert found == kind
    assert ("memory ran out" in reason) == (kind == "out of memory")


def test_the_kernel_s_kills_are_counted_by_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [line.split()[1] for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("oom_kill ")]
    assert memory_kills() >= sum(map(int, stated))
    file = tmp_path / "vmstat"
    file.write_text("pgfault 9\noom_kill_disabled 7\noom_kill 3\nswap_ra 1\n")
    monkeypatch.setattr(failures, "Path", lambda _: file)
    assert memory_kills() == 3
    file.write_text("pgfault 9\n")
    assert memory_kills() == 0
    file.unlink()
    assert memory_kills() == 0


@pytest.mark.parametrize(("meanwhile", "kind"), [(1, "out of memory"), (0, "killed")])
def test_a_run_that_the_kernel_has_killed_is_stored_as_out_of_memory(
    meanwhile: int, kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = memory_kills()
    monkeypatch.setattr(processes, "memory_kills", lambda: before + meanwhile)
    assert bench.run("is killed", "fine").failed == 1
    assert {result.method_label: result.kind for result in bench.store.results()} == {"is killed": kind, "fine": None}
