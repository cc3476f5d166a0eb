"""Cost of checking the digests of prepared data: ``python benchmarks/digest_cost.py [--rows N]``.

Prints the throughput of each digest of the standard library and, for a generated data set, the bytes of its files, the
seconds to open it with all files checked, and the seconds of one pass over the training split.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

BYTES = 256 << 20
OPEN = """
import sys, time
from pathlib import Path
from sharkbench.data import prepare as preparing
preparing._opened(Path(sys.argv[1]), preparing._SPLITS)  # imports what opening needs
started = time.perf_counter()
preparing.open_prepared(Path(sys.argv[1]))
print(time.perf_counter() - started)
"""


def best(work: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    memory = os.urandom(BYTES)
    for name in ("sha256", "blake2b", "sha1", "md5"):
        seconds = best(lambda name=name: hashlib.new(name, memory).digest())  # type: ignore[misc]
        print(f"{name}: {BYTES / seconds / 2**30:.2f} GiB/s")
    print(f"crc32: {BYTES / best(lambda: zlib.crc32(memory)) / 2**30:.2f} GiB/s")

    from sharkbench.data.loader import BatchStream
    from sharkbench.data.prepare import prepare
    from sharkbench.data.sources.synthetic import SyntheticSpec

    with tempfile.TemporaryDirectory() as folder:
        data = prepare(SyntheticSpec(rows=rows), Path(folder))
        size = sum(file.stat().st_size for file in data.path.iterdir())
        command = [sys.executable, "-c", OPEN, str(data.path)]
        opened = min(float(subprocess.run(command, capture_output=True, text=True).stdout) for _ in range(3))
        batches = BatchStream(data.splits["train"], 4096, 1)
        passed = best(lambda: [batch.ids.sum() for batch in batches], 2)
        print(f"{rows:,} rows, {size / 2**20:.0f} MiB: checked in {opened:.2f} s; one pass in batches {passed:.2f} s")


if __name__ == "__main__":
    main()
