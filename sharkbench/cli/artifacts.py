"""``inspect``, ``measure``: commands on the file of a packed table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PackedPath = Annotated[Path, typer.Argument(metavar="PATH", help="A run's folder, or its packed.safetensors.")]


def inspect(path: PackedPath) -> None:
    """Describe a packed table from the header of its file."""
    from sharkbench.cli.console import table
    from sharkbench.model import artifact

    said, nbytes = artifact.inspect(path), artifact.tensor_bytes(path)
    fields = said.model_schema.fields
    rows = sum(field.cardinality for field in fields)
    fp32 = rows * said.width * 4
    print(f"{path}: {nbytes:,} bytes, {nbytes / fp32:.4f} of fp32 ({rows:,} rows of {said.width} numbers)")
    for key, value in said.extra.items():
        print(f"{key}: {value}")
    print(f"labels: {', '.join(said.model_schema.labels)}")
    print(f"data fingerprint: {said.fingerprint}")
    kinds = {field: part.kind for part in said.parts for field in part.fields}
    shown = [
        (field.name, f"{field.cardinality:,}", field.slots if field.slots > 1 else "", kinds.get(number, "pruned"))
        for number, field in enumerate(fields)
    ]
    table(("field", "rows", "slots", "format"), shown, right=("rows", "slots"))


def measure(
    path: PackedPath,
    batch: Annotated[int, typer.Option(min=1, help="Samples per timed call.")] = 4096,
    production_rows: Annotated[int, typer.Option(min=0, help="Also time it with rows replicated to so many.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="To spend on timed calls.")] = 4.0,
) -> None:
    """Measure the lookup speed of a packed table, alternating with fp32 tables."""
    import torch

    from sharkbench.cli.console import table
    from sharkbench.measure import lookup
    from sharkbench.model import artifact

    layer = artifact.load(path)
    times = -(-production_rows // layer.schema.num_rows)
    sizes = [("own size", layer)] + ([("production size", layer.replicate(times))] if times > 1 else [])
    rows = []
    with lookup.threads(threads), torch.inference_mode():
        for name, one in sizes:
            ids = lookup.uniform_stream(one.schema, batch)
            t = lookup.Probe(one).time(name, "uniform", ids, seconds / len(sizes))
            rows.append(
                (t.name, f"{t.rows:,}", f"{t.per_second / 1e6:.1f}", f"{t.ratio_torch:.2f}", f"{t.ratio_fp32:.2f}")
            )
    headings = ("table", "rows", "million lookups/s", "to F.embedding", "to own fp32")
    table(headings, rows, right=headings[1:])
    print(f"{lookup.hardware()}, {threads} threads, {batch} samples per call, ids drawn evenly")
