"""How fast rows in Criteo's raw format are prepared, in how much memory: generated rows, one fresh process per size.

    python benchmarks/preparation.py [--rows 1000000 4000000] [--scratch DIR] [--out results/preparation]
    python benchmarks/preparation.py --rows 45800000 --scratch /somewhere/with/20/GB    # all of Criteo's Kaggle data

Wall time says something only on a quiet machine; ``rows_per_cpu_second`` counts the CPU time of all threads, and
``other_cpu`` says how many cores other processes kept busy meanwhile. Takes about 400 bytes of disk per row.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import polars
import pyarrow
from benchmark_table import file_of_processor, processor
from criteo_rows import write

PREPARE = """
import json, sys, time
from pathlib import Path
import psutil
import sharkbench.data.arrow, sharkbench.data.scan, sharkbench.data.encode
from sharkbench.data.prepare import prepare
from sharkbench.data.sources.criteo import CriteoSpec
def busy():
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait
def peak():
    # Not ru_maxrss, which a new process inherits from the one that generated the rows.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
before = peak()
machine, cpu, wall = busy(), time.process_time(), time.perf_counter()
data = prepare(CriteoSpec(path=sys.argv[1]), Path(sys.argv[2]), progress=False)
machine, cpu, wall = busy() - machine, time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({
    "rows": sum(map(len, data.splits.values())), "ids": data.schema.num_rows, "seconds": round(wall, 2),
    "cpu_seconds": round(cpu, 2), "other_cpu": round(max(0.0, (machine - cpu) / wall), 2),
    "peak_bytes": peak(), "peak_bytes_before": before,
}))
"""


def measured(rows: int, scratch: Path) -> dict[str, float]:
    """Cost of preparing ``rows`` generated rows."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        file = Path(folder) / "train.txt"
        write(file, rows)
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, file, Path(folder) / "cache"], check=True, capture_output=True, text=True
        )
        found: dict[str, float] = json.loads(done.stdout)
        return {**found, "file_bytes": file.stat().st_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=Path("results/preparation"))
    settings = parser.parse_args()
    hardware = processor()
    table = []
    for rows in settings.rows:
        found = measured(rows, settings.scratch)
        speeds = {
            "rows_per_second": round(found["rows"] / found["seconds"]),
            "rows_per_cpu_second": round(found["rows"] / found["cpu_seconds"]),
        }
        about = {"cores": len(os.sched_getaffinity(0)), "polars": polars.__version__, "pyarrow": pyarrow.__version__}
        table.append({**found, **speeds, **about, "cpu": hardware})
        print(
            f"{rows:>12,} rows: {speeds['rows_per_second']:,} rows/s, {speeds['rows_per_cpu_second']:,} per CPU "
            f"second, peak {found['peak_bytes'] / 2**20:,.0f} MiB; others used {found['other_cpu']:.2f} cores"
        )
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / file_of_processor()
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
