"""Files of many blocks, in Criteo's raw format: how they are cut changes nothing, and memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from criteo_rows import write

from sharkbench.data.prepare import prepare
from sharkbench.data.readers import csv, records
from sharkbench.data.sources.criteo import CriteoSpec

PREPARE = """
import sys
from pathlib import Path
from sharkbench.data.prepare import prepare
from sharkbench.data.sources.criteo import CriteoSpec
for path in sys.argv[2:]:
    data = prepare(CriteoSpec(path=path), Path(sys.argv[1]), progress=False)
    status = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in status if line.startswith("VmHWM")]
    print(sum(map(len, data.splits.values())), int(peak) * 1024)
"""


def test_what_is_prepared_does_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.txt", 3000)
    files = []
    for size, blocks in ((2 << 20, 8), (1 << 16, 3)):
        monkeypatch.setattr(records, "BLOCK_BYTES", size)
        monkeypatch.setattr(csv, "BLOCKS", blocks)
        data = prepare(CriteoSpec(path=str(tmp_path / "train.txt")), tmp_path / str(size), progress=False)
        assert sum(map(len, data.splits.values())) == 3000
        files.append({file.name: file.read_bytes() for file in data.path.glob("*.arrow")})
    assert len(files[0]) == 4
    assert files[0] == files[1]


def test_rows_cost_few_bytes_of_memory_each(tmp_path: Path) -> None:
    """A fiftieth of the full size that is measured in benchmarks/preparation.py, in a process of its own.

    What a small file takes before is what the libraries take: torch's builds for GPUs 350 MB more than those without.
    """
    write(tmp_path / "few.txt", 20_000)
    write(tmp_path / "train.txt", 916_000)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, tmp_path / "cache", tmp_path / "few.txt", tmp_path / "train.txt"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    few, before, rows, peak = map(int, done.stdout.split())
    assert (few, rows) == (20_000, 916_000)
    assert peak - before < 5e8
