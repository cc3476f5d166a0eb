"""Damaged and hostile data, prepared data and artifacts: read, or refused in one clear line; little time and memory."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharkbench.data.prepare import prepare
from sharkbench.errors import DataError, SharkbenchError
from sharkbench.model import artifact
from sharkbench.results.archive import ARCHIVE, FILES
from sharkbench.results.store import Store
from sharkbench.runner import Summary, run_suite
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan
from tests.faults.counting import Count, rounds
from tests.faults.mutated_data import ADAPTER, table
from tests.faults.mutated_suites import CPU_SECONDS
from tests.faults.small_suite import SUITE
from tests.faults.test_suites import MOST_MEMORY, in_a_process

BATCH = 60


@pytest.mark.parametrize("number", rounds(1, 8))
@pytest.mark.parametrize("kind", ["raw", pytest.param("prepared", marks=pytest.mark.faults), "artifact"])
def test_mutated_data_is_read_or_refused_in_one_clear_line(
    kind: str, number: int, tmp_path: Path, count: Count
) -> None:
    *told, end = in_a_process("tests.faults.mutated_data", kind, str(tmp_path), str(number * BATCH), str(BATCH))
    assert len(told) == BATCH
    for one in told:
        assert one["code"] in (0, 2), one["said"]
        assert one["said"].isprintable(), one["said"]
        assert one["cpu"] < CPU_SECONDS
    assert end["peak"] < MOST_MEMORY
    count(f"mutated {kind} files: read, or refused in one line; under 5 s and 1 GB", BATCH)
    count(f"... of the {kind} files refused", sum(one["code"] == 2 for one in told))


def prepared(tmp_path: Path, text: str, **more: Any) -> Any:
    file = tmp_path / "d.csv"
    file.write_text(text)
    return prepare(ADAPTER.validate_python({"source": "csv", "path": str(file), "labels": "y", **more}), tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=3)), min_size=0, max_size=40))
def test_any_text_is_data_or_an_error_of_ours(tmp_path: Path, values: list[tuple[str, str]]) -> None:
    rows = [f"{a},{b},{number % 2}" for number, (a, b) in enumerate(values)]
    with contextlib.suppress(SharkbenchError):
        assert len(prepared(tmp_path, "\n".join(["a,b,y", *rows])).splits["train"])


@pytest.mark.faults
def test_a_decompression_bomb_costs_no_memory(tmp_path: Path, count: Count) -> None:
    """A gigabyte of one line behind a megabyte of gzip."""
    file = tmp_path / "bomb.csv.gz"
    with gzip.open(file, "wb", compresslevel=9) as stream:
        stream.write(b"a,y\n")
        for _ in range(1000):
            stream.write(b"0" * 1_000_000)
    spec = {"source": "csv", "path": str(file), "labels": "y"}
    told, end = in_a_process("tests.faults.prepare_once", json.dumps(spec), str(tmp_path))
    assert told["code"] == 2, told
    assert end["peak"] < MOST_MEMORY
    count("decompression bombs: read or refused under 1 GB")


LONG = "x" * 4000


def repeated(values: pa.Array, rows: int) -> pa.Array:
    """Its first value in every row but the second, which has the other one."""
    return values.take(pa.array(np.arange(rows) == 1).cast(pa.int8()))


PARQUET_BOMBS: dict[str, tuple[Callable[[], dict[str, Any]], int, str]] = {
    "a long text in every row": (
        lambda: {f"a{i}": repeated(pa.array([LONG, "b"]).dictionary_encode(), 65_536) for i in range(6)}, 0, "",
    ),
    "lists of a long text": (
        lambda: {"a": pa.ListArray.from_arrays(
            pa.array(np.arange(20_001) * 40, pa.int32()), repeated(pa.array([LONG, "b"]).dictionary_encode(), 800_000),
        )}, 0, "",
    ),
    "a list of a billion bytes in one row": (
        lambda: {"a": pa.ListArray.from_arrays(
            pa.array([0, 0, 1, 300_000], pa.int32()), repeated(pa.array([LONG, "b"]).dictionary_encode(), 300_000),
        )}, 2, "column 'a' is longer than",
    ),
    "a list of millions of numbers": (
        lambda: {"a": pa.ListArray.from_arrays(
            pa.array([0, 0, 1, 1 << 26], pa.int32()), pa.array(np.zeros(1 << 26, np.int8)),
        )}, 2, "write smaller row groups",
    ),
    "texts as long as books": (lambda: {"a": [str(i) + "x" * 3_000_000 for i in range(20)]}, 2, "is longer than"),
    "long fixed sizes": (lambda: {"a": pa.array([b"x" * 100_000] * 12_000, pa.binary(100_000))}, 0, ""),
}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("what", PARQUET_BOMBS)
def test_a_small_parquet_file_that_says_much_costs_little_memory(what: str, tmp_path: Path, count: Count) -> None:
    make, code, said = PARQUET_BOMBS[what]
    columns = make()
    columns["y"] = pa.array(np.arange(len(columns[next(iter(columns))])) % 2)
    file = tmp_path / "bomb.parquet"
    pq.write_table(pa.table(columns), file, compression="zstd")
    assert file.stat().st_size < 4 << 20
    spec = {"source": "parquet", "path": str(file), "labels": "y", "split": {"kind": "random"}}
    told, end = in_a_process("tests.faults.prepare_once", json.dumps(spec), str(tmp_path))
    assert (told["code"], said in told["said"]) == (code, True), told
    assert end["peak"] < MOST_MEMORY, end
    count("decompression bombs: read or refused under 1 GB")


ARCHIVE_BOMBS = {
    "a text of 100 MB in every row": lambda: repeated(pa.array(["x" * 100_000_000, "b"]).dictionary_encode(), 100),
    "texts of 50 MB, all different": lambda: pa.array([str(i) + "x" * 50_000_000 for i in range(6)]),
}


@pytest.mark.faults
@pytest.mark.parametrize("what", ARCHIVE_BOMBS)
def test_a_small_archive_that_says_much_is_refused_and_costs_little(what: str, tmp_path: Path, count: Count) -> None:
    texts = ARCHIVE_BOMBS[what]()
    keys = pa.array([f"{number:020d}" for number in range(len(texts))])
    file = tmp_path / ARCHIVE
    pq.write_table(pa.table({"key": keys, **dict.fromkeys(FILES, texts)}), file, compression="zstd")
    del texts
    assert file.stat().st_size < 1 << 20
    told, end = in_a_process("tests.faults.unpack_once", str(file))
    assert told["code"] == 2, told
    assert "more than" in told["said"]
    assert end["peak"] < MOST_MEMORY, end
    count("decompression bombs: read or refused under 1 GB")


ODD = {
    "a vocabulary of one": ({"user": ["u"] * 200}, {}, {"user": 2}),
    "a field that is always missing": ({"user": [""] * 200}, {}, {"user": 1}),
    "a field constant in train and new in test": (
        {"user": ["old" if i < 120 else "new" for i in range(200)]}, {"split": "temporal"}, {"user": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_fields_without_information_are_fields(what: str, tmp_path: Path, count: Count) -> None:
    changes, more, cardinalities = ODD[what]
    columns = {**table(), "order": list(range(200)), **changes}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    settings_ = {"split": {"kind": "temporal", "column": "order", "fractions": [0.6, 0.2, 0.2]}} if more else {}
    data = prepared(tmp_path, "\n".join(lines), ignore=["tags"], **settings_)
    sizes = {field.name: field.cardinality for field in data.schema.fields}
    assert {name: sizes[name] for name in cardinalities} == cardinalities
    if more:
        at = [field.name for field in data.schema.fields].index("user")
        first = data.schema.offsets[at]
        assert np.unique(data.splits["test"].ids[:, at]).tolist() == [first]  # the id of what training has not seen
        assert np.unique(data.splits["train"].ids[:, at]).tolist() == [first + 1]
    count("fields of one value, or new in test: stated outcome")


def test_a_method_trains_and_packs_fields_without_information(tmp_path: Path, count: Count) -> None:
    """One field of one value, one that is always missing: a table with them is trained, stored and served."""
    lines = ["one,none,user,y", *(f"u,,v{i % 17},{i * i % 3 % 2}" for i in range(900))]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    data = {"source": "csv", "path": str(tmp_path / "d.csv"), "labels": "y"}
    suite = load({**SUITE, "datasets": [data], "methods": ["full", "hash", "int8"], "budgets": [0.6], "seeds": 1})
    cache = tmp_path / "cache"
    assert run_suite(suite, plan(suite, cache_dir=cache), tmp_path / "out", cache_dir=cache) == Summary(done=3)
    for result in Store(tmp_path / "out").results():
        assert np.isfinite(result.quality["y"]["auc"])
        assert set(result.bytes_by_field) == {"one", "none", "user"}
        table = artifact.load(tmp_path / "out" / "runs" / result.key)
        first = torch.from_numpy(table.schema.offsets[:-1].copy())
        assert table.lookup(first[None]).isfinite().all()
    count("fields of one value, or always missing: trained, packed and served")


def test_labels_that_are_all_equal_have_no_auc_and_say_so(tmp_path: Path, count: Count) -> None:
    for value in (0, 1):
        with pytest.raises(DataError, match=f"label 'y' is {value} in all .* rows of the train split"):
            prepared(tmp_path, "a,y\n" + f"x,{value}\n" * 50)
        count("labels all equal: refused by name")
