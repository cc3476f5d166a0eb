# ruff: noqa: E501
"""Data and artifacts that are damaged or made to do harm.

``python -m tests.faults.mutated_data KIND FOLDER FIRST COUNT`` reads mutants as the product does and prints what each came
to, a line of JSON each. In a process of its own: what crashes takes only that with it.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from sharkbench.data.prepare import open_prepared, prepare
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import SharkbenchError, printable
from sharkbench.files.digests import SEAL
from tests.faults.mutated_suites import CPU_SECONDS, TooLong, too_long
from tests.faults.peak import peak_bytes

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
ROWS = 200
CELLS = (
    *("", " ", "0", "1", "-1", "1e999", "-1e999", "nan", "inf", "1e-320", "99999999999999999999", "0x1F", "x" * 70_000),
    *('"', '""', '"open', "a\nb", "a\r\nb", "\0", "\ufeff", "é", "\u202e", "=cmd()", "<b>", "../x", "|||", "|".join("ab" * 99)),
)  # fmt: skip
SPEC = {
    "labels": "y", "numeric": {"price": "quantiles", "age": "log2", "score": "dense"}, "group": "user",
    "multivalued": {"tags": {"separator": "|", "slots": 3}},
}  # fmt: skip


def table() -> dict[str, list[Any]]:
    """Columns of a good data set."""
    numbers = range(ROWS)
    return {
        "user": [f"u{i % 17}" for i in numbers],
        "hour": [i % 24 for i in numbers],
        "price": [round(i * 1.37 % 11, 3) for i in numbers],
        "age": [i * 7 % 80 for i in numbers],
        "score": [i % 13 / 7 for i in numbers],
        "tags": ["|".join(f"t{(i * k) % 9}" for k in range(1, 1 + i % 4)) for i in numbers],
        "y": [i * i % 3 % 2 for i in numbers],
    }


def as_csv(columns: dict[str, list[Any]]) -> bytes:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut, doubled, moved or put in."""
    raw = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, size = chance.randrange(len(raw) or 1), chance.choice([1, 4, 50, 900])
        what = chance.choice(["flip", "flip", "cut", "drop", "double", "zeros", "ones", "noise"])
        if what == "flip" and raw:
            for _ in range(chance.choice([1, 2, 20])):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        elif what == "cut":
            del raw[at:]
        elif what == "drop":
            del raw[at : at + size]
        elif what == "double":
            raw[at:at] = raw[at : at + size]
        else:
            fill = {"zeros": bytes(size), "ones": b"\xff" * size, "noise": chance.randbytes(size)}[what]
            raw[at : at + size] = fill
    return bytes(raw)


def wrong_cells(chance: random.Random) -> dict[str, list[Any]]:
    """The data set with other values, columns, or none."""
    columns = table()
    for _ in range(chance.choice([1, 2, 8])):
        name = chance.choice(sorted(columns))
        what = chance.choice(["cell", "cell", "constant", "rename", "drop", "short"])
        if what == "cell" and columns[name]:
            columns[name][chance.randrange(len(columns[name]))] = chance.choice(CELLS)
        elif what == "constant":
            columns[name] = [chance.choice(CELLS)] * len(columns[name])
        elif what == "rename":
            columns[chance.choice([*CELLS, "y", "user"])] = columns.pop(name)
        elif what == "drop" and len(columns) > 1:
            columns.pop(name)
        elif what == "short":
            rows = chance.choice([0, 1, 3, 20])
            columns = {key: values[:rows] for key, values in columns.items()}
    return columns


def odd_types(chance: random.Random) -> pa.Table:
    """The data set with a column of a type that nobody asked for."""
    made: dict[str, Callable[[], pa.Array]] = {
        "structs": lambda: pa.array([{"a": i} for i in range(ROWS)]),
        "maps": lambda: pa.array([[("a", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int64())),
        "nested lists": lambda: pa.array([[[i]] for i in range(ROWS)]),
        "lists": lambda: pa.array([list(range(i % 5)) for i in range(ROWS)]),
        "bytes": lambda: pa.array([bytes([i, 255]) for i in range(ROWS)]),
        "times": lambda: pa.array(list(range(ROWS)), pa.timestamp("ns")),
        "decimals": lambda: pa.array(list(range(ROWS))).cast(pa.decimal128(30, 2)),
        "nulls": lambda: pa.nulls(ROWS),
        "halves": lambda: pa.array([float("nan")] * ROWS).cast(pa.float32()),
        "dictionaries": lambda: pa.array([f"v{i % 3}" for i in range(ROWS)]).dictionary_encode(),
        "durations": lambda: pa.array(list(range(ROWS)), pa.duration("s")),
        "huge": lambda: pa.array([2**63 - 1 - i for i in range(ROWS)]),
        "booleans": lambda: pa.array([i % 2 == 0 for i in range(ROWS)]),
    }
    columns = {name: pa.array(values) for name, values in table().items()}
    for _ in range(chance.choice([1, 2])):
        columns[chance.choice(sorted(columns))] = made[chance.choice(sorted(made))]()
    return pa.table(columns)


def as_parquet(columns: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(columns, sink)
    return sink.getvalue()


def raw_file(folder: Path, chance: random.Random) -> dict[str, Any]:
    """Writes one mutant; returns its data set's settings."""
    kind = chance.choice(["csv", "csv", "csv.gz", "parquet", "parquet types"])
    if kind == "parquet types":
        content = as_parquet(odd_types(chance))
    elif kind == "parquet":
        content = damaged(as_parquet(pa.table(table())), chance)
    else:
        content = as_csv(wrong_cells(chance)) if chance.random() < 0.5 else damaged(as_csv(table()), chance)
        if kind == "csv.gz":
            content = gzip.compress(content)
            content = damaged(content, chance) if chance.random() < 0.5 else content
    file = folder / f"data.{kind.split()[0]}"
    file.write_bytes(content)
    return {"source": kind.split()[0].removesuffix(".gz"), "path": str(file), **SPEC}


def prepared_from(settings: dict[str, Any], folder: Path) -> str:
    """Prepares a data set and reads all of it."""
    data = prepare(ADAPTER.validate_python(settings), folder / "cache", progress=False)
    rows = data.schema.num_rows
    for split in data.splits.values():
        assert int(split.ids.max()) < rows, "an id beyond the table"
        assert bool(split.dense.isfinite().all()), "a dense input that is not finite"
        assert bool(((split.labels == 0) | (split.labels == 1)).all()), "a label that is not 0 or 1"
    return f"{rows} ids"


def try_raw(folder: Path, chance: random.Random) -> str:
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return prepared_from(raw_file(folder, chance), folder)


def try_prepared(folder: Path, chance: random.Random) -> str:
    """A damaged file of a prepared data set is refused; what opens has the bytes that were written."""
    (folder / "good.csv").write_bytes(as_csv(table()))
    good = prepare(
        ADAPTER.validate_python({"source": "csv", "path": str(folder / "good.csv"), **SPEC}), folder / "good"
    )
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(good.path, copy)
    file = chance.choice(sorted(copy.iterdir()))
    file.write_bytes(damaged(file.read_bytes(), chance))
    data = open_prepared(copy)
    assert file.name == SEAL or file.read_bytes() == (good.path / file.name).read_bytes(), f"{file.name} is believed"
    for split in data.splits.values():
        for part in (split.ids, split.dense, split.labels):
            float(part.double().sum())
    return "opened"


def try_artifact(folder: Path, chance: random.Random) -> str:
    """A damaged artifact is refused, or it is another table, which serves finite numbers."""
    import torch

    from sharkbench.model import artifact
    from tests.model.test_artifact import many_formats, model

    if not (folder / "saved").exists():
        artifact.save(model(many_formats()), folder / "saved", fingerprint="abc")
    copy = folder / "copied"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "saved", copy)
    file = copy / chance.choice([artifact.PACKED, artifact.PACKED, artifact.BACKBONE])
    content = file.read_bytes()
    if chance.random() < 0.5:  # aimed at the header, which says what all the rest is
        end = 8 + int.from_bytes(content[:8], "little")
        content = content[:8] + damaged(content[8:end], chance)[: end - 8].ljust(end - 8) + content[end:]
    else:
        content = damaged(content, chance)
    file.write_bytes(content)
    served = artifact.load_model(copy)
    ids = torch.stack([torch.from_numpy(served.layer.schema.offsets[:-1].copy())] * 3)
    assert served.layer.schema.multivalued or bool(served.layer.lookup(ids).isfinite().all()), "not finite"
    return "loaded"


KINDS: dict[str, Callable[[Path, random.Random], str]] = {
    "raw": try_raw,
    "prepared": try_prepared,
    "artifact": try_artifact,
}


def main() -> None:
    signal.signal(signal.SIGPROF, too_long)
    kind, folder, first, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for seed in range(first, first + count):
        began, code = time.process_time(), 0
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            said = KINDS[kind](folder, random.Random(seed))
        except SharkbenchError as error:
            code, said = 2, printable(str(error))
        except (Exception, TooLong):
            code, said = 1, traceback.format_exc(limit=-4)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - began
        print(json.dumps({"seed": seed, "code": code, "said": said, "cpu": seconds}), flush=True)
    print(json.dumps({"peak": peak_bytes()}))


if __name__ == "__main__":
    main()
