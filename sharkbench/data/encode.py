"""Second and third pass: count the training values of each column, then write every split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sharkbench.data.arrow import SplitWriter, write_vocabulary
from sharkbench.data.columns import Columns
from sharkbench.data.encoders import Encoder, FieldEncoder, fit
from sharkbench.data.options import Numeric
from sharkbench.data.row_checks import PARTS
from sharkbench.data.scan import Scan
from sharkbench.data.schema import PADDING, Schema
from sharkbench.data.vocabulary import Counter, Vocabulary


def count(
    spec: Columns, scan: Scan, parts: np.ndarray, progress: Callable[[float], None]
) -> tuple[list[Encoder], Vocabulary | None]:
    """Encoders of the input columns, fitted on the training rows, and the ids of the groups of all rows."""
    counters = {name: Counter() for name in scan.roles.inputs}
    groups = Counter()
    for rows, columns in scan.chunks():
        train = parts[rows] == 0
        for name, (codes, values) in columns.items():
            if name in counters:
                counters[name].add(*_occurrences(codes[train], values))
            if name == scan.roles.group:
                groups.add(*_occurrences(codes, values))
        progress(rows.stop / scan.rows)
    encoders = []
    for name, use in scan.roles.inputs.items():
        if use is None:
            use = Numeric() if name in scan.decimals else "categorical"
        encoders.append(fit(name, use, counters.pop(name).table(), spec.min_count))
    return encoders, Vocabulary(groups.table(), 1) if scan.roles.group else None


def _occurrences(codes: np.ndarray, values: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Distinct values and a null for missing, and how often each occurs."""
    return values.extend_constant(None, 1), np.bincount(
        np.where(codes < 0, len(values), codes), minlength=len(values) + 1
    )


def encode(
    scan: Scan,
    parts: np.ndarray,
    encoders: list[Encoder],
    groups: Vocabulary | None,
    labels: list[str],
    folder: Path,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Write the three splits and ``vocabulary.arrow`` into ``folder``; returns what ``dataset.json`` says."""
    fields = [e for e in encoders if isinstance(e, FieldEncoder)]
    dense = [e for e in encoders if not isinstance(e, FieldEncoder)]
    schema = Schema(tuple(e.field for e in fields), tuple(labels), tuple(e.name for e in dense))
    sizes = np.bincount(parts, minlength=3)
    writers = [
        SplitWriter(folder / f"{name}.arrow", int(n), schema.num_slots, len(dense), len(labels), groups is not None)
        for name, n in zip(PARTS, sizes, strict=True)
    ]
    targets = scan.labels
    for rows, columns in scan.chunks():
        size = rows.stop - rows.start
        ids = np.empty((size, schema.num_slots), dtype=np.int32)
        at = 0
        for field, offset in zip(fields, schema.offsets[:-1], strict=True):
            codes, values = columns[field.name]
            local = field.encode(values)
            table = np.where(local == PADDING, PADDING, local + np.int32(offset)).astype(np.int32)
            ids[:, at : at + field.slots] = table[codes]
            at += field.slots
        floats = np.empty((size, len(dense)), dtype=np.float32)
        for at, column in enumerate(dense):
            codes, values = columns[column.name]
            floats[:, at] = column.encode(values)[codes, 0]
        batch = {"ids": ids, "dense": floats, "labels": targets[rows].astype(np.float32)}
        if groups is not None:
            codes, values = columns[scan.roles.group]
            batch["group"] = np.append(groups.ids(values), np.int32(0))[codes]
        for part, writer in enumerate(writers):
            chosen = parts[rows] == part
            writer.append(**{name: values[chosen] for name, values in batch.items()})
        progress(rows.stop / scan.rows)
    for writer in writers:
        writer.close()
    write_vocabulary(folder / "vocabulary.arrow", [(e.vocabulary.values, e.vocabulary.frequencies) for e in fields])
    rates = {
        name: dict(zip(labels, (float(x) for x in targets[parts == part].mean(axis=0)), strict=True))
        for part, name in enumerate(PARTS)
    }
    return {
        "schema": schema.to_json(),
        "columns": {e.name: e.describe() for e in encoders},
        "summary": {"rows": dict(zip(PARTS, sizes.tolist(), strict=True)), "label_rates": rates},
    }
