"""Tables too large for copies: what a run of one has resident is the table twice, and little else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from large_tables import BATCH, write_splits

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "large_tables.py"
ROWS, STEPS = 3_000_000, 6


@pytest.mark.parametrize("method", ["lpt", "hash"])
def test_a_run_holds_its_table_twice_at_most(method: str, tmp_path: Path) -> None:
    """In training with its best weights, then with its packed form, then loaded beside what was trained. One more copy
    of the packed table, for a moment anywhere, would show; so would a float copy of the whole."""
    write_splits(tmp_path, ROWS, STEPS * BATCH)
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--rows", str(ROWS), "--only", method, "--folder", tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    packed, state = told["file_bytes"], 4 * ROWS
    assert packed == pytest.approx({"lpt": 20, "hash": 16}[method] * ROWS, rel=0.01)
    assert told["largest_gap_of_scores"] == 0
    for stage in ("train", "pack", "serve"):
        assert told[f"peak_bytes_{stage}"] - told["base_bytes"] < 2 * packed + state + 30e6, stage
