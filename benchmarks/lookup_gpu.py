"""Every format on a GPU, in turns with ``F.embedding`` on fp32 rows: are the bits right, and how long does it take?

    python benchmarks/lookup_gpu.py                                          D = 16 and 64, 5 million rows
    python benchmarks/lookup_gpu.py --device cpu --rows 5200 --rounds 3      to try the program itself

Each format is looked up as served (by Triton where ``kernel`` says so) and, as ``us_plain``, in plain PyTorch. Where
every id has a row of its own, ``gigabytes_per_second`` counts ids, stored rows and vectors, and ``of_copy`` compares
that with a copy of 256 MiB within the device. A call is timed until the device has finished it. Exits with 1 if a
Triton kernel gave other bits than plain PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from benchmark_table import write
from contenders import FIELDS, Scene
from torch.nn import functional as F

from sharkbench.formats.base import Format
from sharkbench.formats.in_use import kernels_in_use
from sharkbench.formats.layer import PackedLayer
from sharkbench.measure.lookup import hardware, in_turns, ratio, spread

COPIED = 1 << 28
"""Bytes to copy; much more than the caches hold."""


def copy_speed(device: str, rounds: int) -> float:
    """Bytes read plus written per second by a copy within the device."""
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / spread(in_turns({"copy": lambda i: target.copy_(source)}, 0, rounds=rounds)["copy"]).median


def own_row(part: Format, rows: int) -> float | None:
    """Stored bytes per row if every id has its own row, else ``None``."""
    return part.nbytes / rows if part.num_parameters == rows * part.width else None


@torch.inference_mode()
def measure(scene: Scene, batch: int, stream: str, device: str, rounds: int, copied: float) -> list[dict[str, object]]:
    """A row per format."""
    batches = [ids.to(device) for ids in scene.batches(stream, batch)]
    table, made = scene.table.to(device), []
    for name, part in scene.formats():
        layer = PackedLayer(scene.schema, scene.dimension, [part]).to(device)
        same = all(torch.equal(layer(ids).view(torch.int32), layer._plain(ids).view(torch.int32)) for ids in batches)
        taken = in_turns(
            {
                "served": lambda i, layer=layer: layer(batches[i]),  # type: ignore[misc]
                "plain": lambda i, layer=layer: layer._plain(batches[i]),  # type: ignore[misc]
                "F.embedding": lambda i: F.embedding(batches[i], table),
            },
            0,
            rounds=rounds,
        )
        seen, stored = spread(taken["served"]), own_row(part, scene.schema.num_rows)
        moved = None if stored is None else batch * FIELDS * (batches[0].itemsize + stored + 4 * scene.dimension)
        row: dict[str, object] = {
            "dimension": scene.dimension,
            "batch": batch,
            "stream": stream,
            "format": name,
            "kernel": kernels_in_use(device)[part.kind],
            "rows": scene.schema.num_rows,
            "same_bits": same,
            "us": round(seen.median * 1e6, 2),
            "us_low": round(seen.low * 1e6, 2),
            "us_high": round(seen.high * 1e6, 2),
            "us_plain": round(spread(taken["plain"]).median * 1e6, 2),
            "us_embedding": round(spread(taken["F.embedding"]).median * 1e6, 2),
            "ratio_embedding": round(ratio(taken["F.embedding"], taken["served"]), 3),
            "gigabytes_per_second": "" if moved is None else round(moved / seen.median / 1e9, 2),
            "of_copy": "" if moved is None else round(moved / seen.median / copied, 3),
            "copy_gigabytes_per_second": round(copied / 1e9, 1),
            "hardware": hardware(device),
            "torch": torch.__version__,
        }
        print(*(row[k] for k in ("dimension", "batch", "stream", "format", "kernel", "us", "us_plain", "of_copy")))
        made.append(row)
    return made


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dimension", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 4096, 65536])
    parser.add_argument("--stream", nargs="+", default=["zipf", "uniform"], choices=["zipf", "uniform"])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu tries the program without one")
    copied = copy_speed(options.device, options.rounds)
    rows: list[dict[str, object]] = []
    for dimension in options.dimension:
        scene = Scene(options.rows, dimension)
        for batch in options.batch:
            for stream in options.stream:
                rows += measure(scene, batch, stream, options.device, options.rounds, copied)
                if options.out:
                    write(options.out, rows)
    served = [row for row in rows if row["kernel"] == "triton"]
    wrong = sorted({str(row["format"]) for row in served if not row["same_bits"]})
    if wrong:
        print(f"not the bits of plain PyTorch: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
