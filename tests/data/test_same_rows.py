"""The same rows give the same ids and labels, however they are spelled, cut into files and chunks, and filed."""

from __future__ import annotations

import csv
import gzip
import io
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.prepare import prepare
from sharkbench.data.readers import csv as csv_source
from sharkbench.data.readers import parquet as parquet_source
from sharkbench.data.readers import records
from sharkbench.data.spec import DatasetSpec

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
ROWS = 40
Column = list[Any]

TEXTS = ("007", "7", "4.10", "4.1", "12e34567", "1e5f", "a,b", "a;b", 'say "x"', "one\ntwo", "a\r\n x", "é", "True")
WHOLE = (10**5, 10**15, 2**53 - 1, -(10**16), 10**21)


def drawn(chance: random.Random) -> dict[str, Column]:
    """A table of columns of each kind."""

    def whole() -> int | None:
        return chance.choice([None, chance.randint(-3, 30), chance.randint(-3, 30), chance.choice(WHOLE)])

    def time() -> datetime:
        number = chance.randrange(40)
        return datetime(2022, 4, 25) + timedelta(hours=6 * number, microseconds=number % 3 * 250_000)

    def text() -> str | None:
        signs = "".join(chance.choice('ab",\n\t;1.') for _ in range(chance.randint(1, 6)))
        return chance.choice([None, chance.choice(TEXTS), signs.strip() or None])

    def fraction() -> float:
        return chance.randint(-(10**6), 10**6) / 7

    made: dict[str, Callable[[], Any]] = {
        "id": whole,
        "flag": lambda: chance.choice([True, False, None]),
        "at": lambda: chance.choice([None, time(), time()]),
        "name": text,
        "seen": lambda: [whole() for _ in range(chance.randrange(5))],
        "price": lambda: chance.choice([None, fraction()]),
        "score": fraction,
    }
    return {name: [make() for _ in range(ROWS)] for name, make in made.items()}


PARTS = [1] * 20 + [2] * 10 + [3] * 10
LABELS = [False, True] * 20
SPEC: dict[str, Any] = {
    "labels": {"column": "y", "positive": ["1"]},
    "numeric": {"score": "dense"},
    "multivalued": {"seen": {"separator": "|", "slots": 3}},
    "split": {"kind": "given", "column": "part", "train": "1", "valid": "2", "test": "3"},
    "group": "id",
}


def whole_text(value: int, chance: random.Random) -> str:
    ways = [str(value), f"{value}.0", f"{value}.", f"{value:+d}", f"{value:.25e}"]
    if float(value) == value:
        ways += [repr(float(value)), f"{value:.17g}"]
    return chance.choice(ways)


def flag_text(value: bool, chance: random.Random) -> str:
    return chance.choice([str(value), str(value).lower(), str(value).upper(), str(int(value)), f"{int(value)}.0"])


def time_text(value: datetime, chance: random.Random) -> str:
    ways = [value.isoformat(), str(value), value.isoformat(timespec="microseconds")]
    if (value.hour, value.minute, value.microsecond) == (0, 0, 0):
        ways.append(str(value.date()))
    return chance.choice(ways)


def fraction_text(value: float, chance: random.Random) -> str:
    return chance.choice([repr(value), f"{value:.17g}", f"{value:.16e}"])


def text_of(name: str, value: Any, chance: random.Random) -> str:
    if value is None:
        return chance.choice(["", "  "])
    if name in ("id", "part"):
        return whole_text(value, chance)
    if name in ("flag", "y"):
        return flag_text(value, chance)
    if name == "at":
        return time_text(value, chance)
    if name == "seen":
        return "|".join("" if each is None else whole_text(each, chance) for each in value)
    return value if name == "name" else fraction_text(value, chance)


def as_text(columns: dict[str, Column], chance: random.Random, separator: str) -> bytes:
    sink = io.StringIO(newline="")
    quoting = chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(sink, delimiter=separator, lineterminator=chance.choice(["\n", "\r\n"]), quoting=quoting)
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([text_of(name, value, chance) for name, value in zip(columns, row, strict=True)])
    return sink.getvalue().encode()


def texts(column: Column, name: str, chance: random.Random) -> pa.Array:
    values = pa.array([None if v is None else text_of(name, v, chance) for v in column], pa.string())
    kinds: list[Callable[[], pa.Array]] = [
        lambda: values,
        lambda: values.cast(pa.large_string()),
        lambda: values.cast(pa.binary()),
        values.dictionary_encode,
    ]
    return chance.choice(kinds)()


def typed(name: str, column: Column, chance: random.Random) -> pa.Array:
    """The column as one of the types that can hold it."""
    if name in ("id", "part"):
        known = [v for v in column if v is not None]
        ways: list[Callable[[], pa.Array]] = [
            lambda: texts(column, name, chance),
            lambda: pa.array([None if v is None else Decimal(v) for v in column], pa.decimal128(30, 2)),
        ]
        if all(abs(v) < 2**63 for v in known):
            ways.append(lambda: pa.array(column, pa.int64()))
        if all(float(v) == v for v in known):
            ways.append(lambda: pa.array([math.nan if v is None else float(v) for v in column], pa.float64()))
        return chance.choice(ways)()
    if name in ("flag", "y"):
        return chance.choice([
            lambda: pa.array(column, pa.bool_()),
            lambda: pa.array([None if v is None else int(v) for v in column], pa.int8()),
            lambda: texts(column, name, chance),
        ])()  # fmt: skip
    if name == "at":
        unit = chance.choice(["ms", "us", "ns"])
        return chance.choice([lambda: pa.array(column, pa.timestamp(unit)), lambda: texts(column, name, chance)])()
    if name == "seen":
        return lists(column, chance)
    if name == "name":
        return texts(column, name, chance)
    return chance.choice([lambda: pa.array(column, pa.float64()), lambda: texts(column, name, chance)])()


def lists(column: Column, chance: random.Random) -> pa.Array:
    """Lists with nulls among their values, or for them."""
    known = [value for row in column for value in row if value is not None]
    element: pa.DataType = pa.string()
    values: Column = [[None if v is None else whole_text(v, chance) for v in row] for row in column]
    if chance.random() < 0.5 and all(abs(v) < 2**53 for v in known):
        element = chance.choice([pa.int64(), pa.float64()])
        values = column
    rows = [row or chance.choice([None, []]) for row in values]
    kind = chance.choice([pa.list_(element), pa.large_list(element), pa.list_(element, 6)])
    if pa.types.is_fixed_size_list(kind):
        rows = [[*(row or []), *[None] * (6 - len(row or []))] for row in rows]
    return pa.array(rows, kind)


def write(columns: dict[str, Column], folder: Path, chance: random.Random) -> dict[str, Any]:
    """Files of one source with the rows in order; returns the settings that read them."""
    source = chance.choice(["csv", "csv", "parquet"])
    separator = chance.choice([",", "\t", ";"])
    cuts = sorted(chance.sample(range(1, ROWS), chance.choice([0, 1, 3])))
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, ROWS], strict=True)):
        names = list(columns) if number == 0 else chance.sample(list(columns), len(columns))
        piece = {name: columns[name][start:end] for name in names}
        if source == "parquet":
            table = pa.table({name: typed(name, column, chance) for name, column in piece.items()})
            pq.write_table(table, folder / f"{number}.parquet", row_group_size=chance.choice([5, 100]))
        else:
            content = as_text(piece, chance, separator)
            name, content = chance.choice([(f"{number}.csv", content), (f"{number}.csv.gz", gzip.compress(content))])
            (folder / name).write_bytes(content)
    path = f"{folder}/*.parquet" if source == "parquet" else f"{folder}/*.csv*"
    return {"source": source, "path": path, **({"separator": separator, "quote": '"'} if source == "csv" else {})}


def plainly(columns: dict[str, Column], file: Path) -> dict[str, Any]:
    """One CSV file in the plainest spelling."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([
                "" if v is None else "|".join(str(e) for e in v if e is not None) if isinstance(v, list)
                else int(v) if isinstance(v, bool) else v for v in row
            ])  # fmt: skip
    return {"source": "csv", "path": str(file)}


def assert_same(one: PreparedDataset, two: PreparedDataset) -> None:
    assert one.schema == two.schema
    assert np.array_equal(one.schema.frequencies, two.schema.frequencies)  # type: ignore[arg-type]
    for field in one.schema.fields:
        assert one.vocabulary(field.name) == two.vocabulary(field.name)
    for part, split in one.splits.items():
        other = two.splits[part]
        assert torch.equal(split.labels, other.labels)
        assert torch.equal(split.ids, other.ids)
        assert torch.equal(split.dense, other.dense)
        assert torch.equal(split.group, other.group)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:data set")
@settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_the_same_rows_give_the_same_data(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder, chance = tmp_path_factory.mktemp("rows"), random.Random(seed)
    columns = drawn(chance)
    columns = {**columns, "part": PARTS, "y": LABELS}
    one = prepare(ADAPTER.validate_python({**plainly(columns, folder / "plain.txt"), **SPEC}), folder, progress=False)
    (folder / "files").mkdir()
    spec = write(columns, folder / "files", chance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK_BYTES", chance.choice([700, 1500, 1 << 16]))
        patch.setattr(csv_source, "BLOCKS", chance.choice([1, 3]))
        patch.setattr(parquet_source, "ROWS", chance.choice([3, 1000]))
        two = prepare(ADAPTER.validate_python({**spec, **SPEC}), folder, progress=False)
    assert_same(one, two)
