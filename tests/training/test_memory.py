"""Training and scoring read mapped files, and hold next to nothing of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.training.train_on_files import ROW_BYTES

FEW, MANY = 50_000, 800_000


def test_more_rows_take_a_fifth_of_their_bytes_at_most(tmp_path: Path) -> None:
    """What grows is the numbers of the rows of a block that is shuffled, and a score per row."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.train_on_files", tmp_path, str(FEW), str(MANY)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    few, many = map(int, done.stdout.split()[-2:])
    assert many - few < (MANY - FEW) * ROW_BYTES / 5
