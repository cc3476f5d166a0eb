"""Second and third pass: count the training values of each column, then write every split."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sharkbench.data.arrow import SplitWriter, write_vocabulary
from sharkbench.data.columns import Columns
from sharkbench.data.encoders import Dense, Encoder, FieldEncoder, fit
from sharkbench.data.options import Numeric
from sharkbench.data.row_checks import PARTS
from sharkbench.data.scan import THREADS, Scan
from sharkbench.data.schema import PADDING, Schema
from sharkbench.data.vocabulary import Counter, Vocabulary
from sharkbench.data.weights import effective_rows, mean_one


def count(
    spec: Columns, scan: Scan, parts: np.ndarray, progress: Callable[[float], None]
) -> tuple[list[Encoder], Vocabulary | None]:
    """Fit the encoders of the input columns on the training rows; returns them and the group ids of all rows."""
    counters = {name: Counter() for name in scan.roles.inputs}
    groups = Counter()

    def add(name: str) -> None:
        codes, values = columns[name]
        if name in counters:
            counters[name].add(*_occurrences(codes[train], values))
        if name == scan.roles.group:
            groups.add(*_occurrences(codes, values))

    def fitted(name: str) -> Encoder:
        use = scan.roles.inputs[name]
        if use is None:
            use = Numeric() if name in scan.decimals else "categorical"
        return fit(name, use, counters.pop(name).table(), spec.min_count)

    with ThreadPoolExecutor(THREADS) as pool:
        for rows, columns in scan.chunks():
            train = parts[rows] == 0
            list(pool.map(add, columns))
            progress(rows.stop / scan.rows)
        encoders = list(pool.map(fitted, list(counters)))
    return encoders, Vocabulary(groups.table(), 1) if scan.roles.group else None


def _occurrences(codes: np.ndarray, values: pl.Series) -> tuple[pl.Series, np.ndarray, int]:
    """Distinct values, the number of occurrences of each, and the number of missing values (-1)."""
    counts = np.bincount(codes + np.int32(1), minlength=len(values) + 1)
    return values, counts[1:], int(counts[0])


def encode(
    scan: Scan,
    parts: np.ndarray,
    encoders: list[Encoder],
    groups: Vocabulary | None,
    labels: list[str],
    folder: Path,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Write the three splits and ``vocabulary.arrow`` into ``folder``; returns the content of ``dataset.json``."""
    fields = [e for e in encoders if isinstance(e, FieldEncoder)]
    dense = [e for e in encoders if not isinstance(e, FieldEncoder)]
    schema = Schema(tuple(e.field for e in fields), tuple(labels), tuple(e.name for e in dense))
    sizes = np.bincount(parts, minlength=3)
    weights = None if scan.weights is None else mean_one(scan.weights, parts)
    shape = schema.num_slots, len(dense), len(labels), groups is not None, weights is not None
    writers = [SplitWriter(folder / f"{name}.arrow", int(n), *shape) for name, n in zip(PARTS, sizes, strict=True)]
    targets = scan.labels
    starts = np.cumsum([0, *(field.slots for field in fields)])

    def put_ids(number: int) -> None:
        field, (codes, values) = fields[number], columns[fields[number].name]
        local = field.encode(values)
        table = np.where(local == PADDING, PADDING, local + np.int32(schema.offsets[number])).astype(np.int32)
        ids[:, starts[number] : starts[number + 1]] = table.take(codes, axis=0, mode="wrap")

    def put_floats(number: int) -> None:
        codes, values = columns[dense[number].name]
        floats[:, number] = dense[number].encode(values)[codes, 0]

    def put_rows(part: int) -> None:
        chosen = np.flatnonzero(parts[rows] == part)
        writers[part].append(**{name: values.take(chosen, axis=0) for name, values in batch.items()})

    with ThreadPoolExecutor(THREADS) as pool:
        for rows, columns in scan.chunks():
            size = rows.stop - rows.start
            ids = np.empty((size, schema.num_slots), dtype=np.int32)
            floats = np.empty((size, len(dense)), dtype=np.float32)
            list(pool.map(put_ids, range(len(fields))))
            list(pool.map(put_floats, range(len(dense))))
            batch = {"ids": ids, "dense": floats, "labels": targets[rows].astype(np.float32)}
            if groups is not None:
                codes, values = columns[scan.roles.group]
                batch["group"] = np.append(groups.ids(values), np.int32(0))[codes]
            if weights is not None:
                batch["weight"] = weights[rows]
            list(pool.map(put_rows, range(len(writers))))
            progress(rows.stop / scan.rows)
    for writer in writers:
        writer.close()
    write_vocabulary(folder / "vocabulary.arrow", [(e.vocabulary.values, e.vocabulary.frequencies) for e in fields])
    rates = {
        name: dict(zip(labels, (float(x) for x in targets[parts == part].mean(axis=0)), strict=True))
        for part, name in enumerate(PARTS)
    }
    summary: dict[str, Any] = {"rows": dict(zip(PARTS, sizes.tolist(), strict=True)), "label_rates": rates}
    if weights is not None:
        summary["weight"] = {"column": scan.roles.weight, "effective_rows": effective_rows(weights, parts)}
    return {
        "schema": schema.to_json(),
        "columns": {e.name: e.describe() for e in encoders},
        "remarks": [e.remark for e in encoders if isinstance(e, Dense) and e.remark],
        "summary": summary,
    }
