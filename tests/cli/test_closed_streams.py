"""Streams that are closed, or that nobody reads any more: what was asked for is done all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharkbench.results.store import Store
from tests.faults.peak import ROOT
from tests.faults.small_suite import SUITE

PROGRAM = "import sys; from sharkbench.cli import main; sys.argv[0] = 'sharkbench'; main()"


def sharkbench(*words: str, closed: tuple[int, ...] = (), stderr: int | None = subprocess.PIPE) -> tuple[int, str]:
    """Exit code, and what was said on what is open."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )  # fmt: skip
    return done.returncode, done.stdout + (done.stderr or "")


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_command_goes_on_with_closed_streams(closed: tuple[int, ...], tmp_path: Path) -> None:
    suite = tmp_path / "small.json"
    suite.write_text(json.dumps(SUITE))
    code, said = sharkbench("validate", str(suite), "no such suite", closed=closed)
    assert (code, "bug" in said) == (2, False), said
    assert ("good" in said) == (1 not in closed)
    assert ("no such suite" in said) == (2 not in closed)


@pytest.mark.parametrize("how", ["closed", pytest.param("read by nobody", marks=pytest.mark.faults)])
def test_runs_go_on_without_a_standard_error(how: str, tmp_path: Path) -> None:
    suite = tmp_path / "small.json"
    suite.write_text(json.dumps({**SUITE, "methods": ["hash"], "seeds": 2}))
    reader, writer = os.pipe()
    os.close(reader)
    words = ["run", str(suite), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--no-report"]
    closed = (2,) if how == "closed" else ()
    code, said = sharkbench(*words, closed=closed, stderr=None if closed else writer)
    os.close(writer)
    assert code == 0, said
    assert "bug" not in said
    results = Store(tmp_path / "out").results()
    assert [result.status for result in results] == ["ok", "ok"]
    # Nothing that was printed has got into a file that was opened in the stream's place.
    for file in (tmp_path / "out").rglob("*.json"):
        json.loads(file.read_text())
