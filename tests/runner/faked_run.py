"""Runs a faked plan as a program of its own: ``python -m tests.runner.faked_run FOLDER JOBS WAY...``

With the address of a Ray cluster in ``FAKED_RAY``, there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.runner.conftest import Bench


def main() -> None:
    folder, jobs, *ways = sys.argv[1:]
    bench = Bench(Path(folder))
    if address := os.environ.get("FAKED_RAY"):
        bench.executor = {"name": "ray", "address": address}
    # At the top of a script, as users write it: the processes of the runs must not run it again.
    summary = bench.run(*ways, jobs=int(jobs), on_event=lambda event: print(type(event).__name__, flush=True))
    print(summary, flush=True)
    sys.exit(130 if summary.interrupted else 1 if summary.failed else 0)


main()
