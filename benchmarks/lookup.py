"""Lookups per second of every format, in turns with PyTorch's own operators in one process.

    python benchmarks/lookup.py                      the whole table, some 20 minutes on a quiet machine
    python benchmarks/lookup.py --dimension 16 --threads 1 --batch 4096 --stream zipf --rounds 5

Writes ``results/lookup/<hardware>.csv`` and ``.md``, and the chart ``docs/lookup-<hardware>.svg``. A setting is written
as soon as it is measured; settings that were measured before and are not now keep their rows, so the table can be made
in parts. FBGEMM takes part where ``fbgemm-gpu-cpu`` is installed.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import datetime
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from contenders import FIELDS, Scene, layers, limits, ours
from lookup_report import chart, table
from rivals import Compiled, Fbgemm, operators

from sharkbench.formats.in_use import kernels_in_use
from sharkbench.formats.layer import PackedLayer
from sharkbench.machine.environment import huge_pages
from sharkbench.measure.lookup import hardware, in_turns, ratio, spread, threads

ROOT = Path(__file__).resolve().parent.parent
KEY = ("dimension", "threads", "batch", "stream", "contender")


class Contenders:
    """All contenders at one dimension."""

    def __init__(self, rows: int, dimension: int, compiled: bool) -> None:
        self.scene = Scene(rows, dimension)
        self.packed = dict(self.scene.formats())
        self.layers: dict[str, PackedLayer] = layers(self.scene, self.packed)
        self.compiled = Compiled(self.packed, dimension) if compiled else None
        self.fbgemm = Fbgemm(FIELDS, self.scene.field_rows, dimension)

    def calls(self, batches: list[torch.Tensor]) -> dict[str, Callable[[int], object]]:
        own = ours(self.layers, batches)  # first, so that its memory is where it will be
        made = operators(self.scene.table, self.packed, batches) | self.fbgemm.calls(batches)
        if self.compiled is not None:
            made |= self.compiled.calls(batches)
        return made | limits(self.scene, self.packed["fp32"].get_buffer("table"), batches) | own


def measure(all_of: Contenders, batch: int, stream: str, count: int, rounds: int) -> list[dict[str, object]]:
    """A row per contender; the time of a format's kernel alone is in the format's row."""
    scene, packed = all_of.scene, all_of.packed
    before, own = psutil.cpu_times(), psutil.Process().cpu_times()
    batches = scene.batches(stream, batch)
    with threads(count), torch.inference_mode():
        taken = in_turns(all_of.calls(batches), 0, rounds=rounds)
    now, mine = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = sum(now[i] - before[i] for i in (0, 1, 2)) - sum(mine[i] - own[i] for i in (0, 1))
    rows = []
    for name, turns in taken.items():
        if name.endswith("(bare)"):
            continue
        bare = taken.get(f"{name} (bare)")
        seen, every = spread(turns), [call for turn in turns for call in turn]
        part = packed.get(name)
        rows.append(
            {
                "dimension": scene.dimension,
                "threads": count,
                "batch": batch,
                "stream": stream,
                "contender": name,
                "rows": scene.schema.num_rows,
                "bytes_per_row": "" if part is None else round(part.nbytes / scene.schema.num_rows, 3),
                "us": round(seen.median * 1e6, 2),
                "us_low": round(seen.low * 1e6, 2),
                "us_high": round(seen.high * 1e6, 2),
                "us_best": round(min(every) * 1e6, 2),
                "us_p50": round(float(np.quantile(every, 0.5)) * 1e6, 2),
                "us_p99": round(float(np.quantile(every, 0.99)) * 1e6, 2),
                "million_lookups_per_second": round(batch * FIELDS / seen.median / 1e6, 2),
                "ratio_embedding": round(ratio(taken["F.embedding fp32"], turns), 3),
                "ratio_embedding_bag": round(ratio(taken["F.embedding_bag fp32"], turns), 3),
                "ratio_our_fp32": round(ratio(taken["fp32"], turns), 3),
                "us_kernel": "" if bare is None else round(spread(bare).median * 1e6, 2),
                "over_kernel": "" if bare is None else round(ratio(turns, bare) - 1, 3),
                "rounds": rounds,
                "other_cpu_seconds": round(max(0.0, busy), 1),
                "kernel": kernels_in_use()[part.kind] if part is not None else "torch",
                "huge_pages": huge_pages(),
                "torch": torch.__version__,
                "measured": datetime.date.today().isoformat(),
            }
        )
    return rows


def keep_memory() -> None:
    """Keep freed memory in the process: otherwise some calls pay for page faults, depending on the heap's state."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        # 32 MiB is the most that glibc takes for the third, which stays at 128 KiB once one of the others is set.
        for option, value in ((trim_threshold, 1 << 30), (top_pad, 1 << 26), (mmap_threshold, 1 << 25)):
            library.mallopt(option, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 4096])
    parser.add_argument("--stream", nargs="+", default=["zipf", "uniform"], choices=["zipf", "uniform"])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--out", type=Path, default=ROOT)
    options = parser.parse_args()
    keep_memory()

    name = re.sub(r"[^a-z0-9]+", "-", hardware().lower()).strip("-")
    file = options.out / "results" / "lookup" / f"{name}.csv"
    rows: dict[tuple[str, ...], dict[str, object]] = {}
    if file.exists():
        with file.open() as stream:
            rows = {tuple(str(row[k]) for k in KEY): dict(row) for row in csv.DictReader(stream)}
    for dimension in options.dimension:
        contenders = Contenders(options.rows, dimension, not options.no_compile)
        for count in options.threads:  # outermost: compiled code is made for a number of threads
            for batch in options.batch:
                for stream_name in options.stream:
                    made = measure(contenders, batch, stream_name, count, options.rounds)
                    rows |= {tuple(str(row[k]) for k in KEY): row for row in made}
                    print(f"D={dimension} batch={batch} {stream_name} threads={count}", flush=True)
                    for row in made:
                        print(f"  {row['contender']:28s} {row['us']:>10} us   x{row['ratio_embedding']}", flush=True)
                    _write(file, list(rows.values()))
        del contenders
    (file.with_suffix(".md")).write_text(table(list(rows.values()), hardware()))
    drawing = options.out / "docs" / f"lookup-{name}.svg"
    drawing.parent.mkdir(exist_ok=True)
    drawing.write_text(chart(list(rows.values()), hardware()))


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, fieldnames=list(rows[-1]), restval="", extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
