"""Tables that benchmarks write."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharkbench.machine.environment import cpu_name


def processor() -> str:
    """Name of the processor, in characters allowed in a file name and a CSV cell."""
    return " ".join("".join(c if c.isalnum() else " " for c in cpu_name()).split())


def file_of_processor() -> str:
    """Name of the CSV file for measurements on this processor."""
    return f"{processor().lower().replace(' ', '-')}.csv"


def hardware() -> str:
    """Processor and cores, for a column of that name."""
    return f"{cpu_name()} {len(os.sched_getaffinity(0))} cores"


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same columns as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
