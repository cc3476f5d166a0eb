"""Who only reads prepared data, as the process of every run does, waits for no library that only preparation needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sharkbench.data.prepare import prepare
from sharkbench.data.sources.synthetic import SyntheticSpec

READ = """
import sys
from pathlib import Path
from sharkbench.data.prepare import open_prepared
data = open_prepared(Path(sys.argv[1]))
print(int(data.schema.frequencies.sum()), len(data.splits["train"]) * data.schema.num_fields)
print(*(name for name in ("polars", "pandas", "scipy") if name in sys.modules))
"""


def test_opening_a_data_set_is_light(tmp_path: Path) -> None:
    data = prepare(SyntheticSpec(rows=1000, cardinalities=(20, 10)), tmp_path, progress=False)
    done = subprocess.run([sys.executable, "-c", READ, data.path], capture_output=True, text=True, check=True)
    counted, loaded = done.stdout.splitlines()
    assert counted == "1600 1600"
    assert loaded == ""
