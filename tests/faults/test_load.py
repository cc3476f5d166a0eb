"""Thousands of stored runs: whatever only reads them ends well, in less than a gigabyte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_load import fill, measured, suite_of

from sharkbench.results.store import Store
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from tests.faults.counting import Count

RUNS = 5000
MOST_MEGABYTES = 1000


@pytest.mark.faults
def test_thousands_of_stored_runs_are_read_in_little_memory(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARKBENCH_CACHE", str(tmp_path / "cache"))
    file, out = tmp_path / "load.yaml", tmp_path / "out"
    file.write_text(json.dumps(suite_of(RUNS)))
    runs = plan(load(str(file)))
    assert len(runs) >= RUNS
    fill(Store(out), runs)
    for command in ("plan", "status", "leaderboard", "report"):
        _, seconds, megabytes = measured(command, file, out)  # which refuses another exit code than 0
        assert megabytes < MOST_MEGABYTES, command
        count(f"{len(runs):,} stored runs, {command}: under 1 GB; seconds of processor time", round(seconds))
