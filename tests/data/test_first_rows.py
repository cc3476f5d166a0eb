"""What preparation will refuse of the first rows, a plan refuses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from sharkbench.data.first_rows import check_first_rows
from sharkbench.data.prepare import prepare
from sharkbench.data.readers import csv as csv_source
from sharkbench.data.readers import records
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
GOOD = ["user,hour,y", *(f"u{i % 7},{i % 5},{i % 2}" for i in range(60))]


@pytest.mark.parametrize(
    ("lines", "spec"),
    [
        (["user,hour,y", "u1,2,7", *GOOD[1:]], {}),
        (["user,hour,y", "u1,2", *GOOD[1:]], {}),
        (["user,user,y", *GOOD[1:]], {}),
        (GOOD, {"labels": "click"}),
        (GOOD, {"numeric": ["user"]}),
        (GOOD, {"ignore": ["usr"]}),
        (GOOD, {"split": {"kind": "temporal", "column": "user"}}),
        ([*GOOD[:9], '"u', *GOOD[9:]], {}),
    ],
)
def test_it_refuses_what_preparation_refuses_and_says_the_same(
    tmp_path: Path, lines: list[str], spec: dict[str, Any]
) -> None:
    (tmp_path / "d.csv").write_text("\n".join(lines))
    parsed = ADAPTER.validate_python({"source": "csv", "path": str(tmp_path / "d.csv"), "labels": "y", **spec})
    with pytest.raises(DataError) as planned:
        check_first_rows(parsed)
    with pytest.raises(DataError) as prepared:
        prepare(parsed, tmp_path / "cache", progress=False)
    assert str(planned.value) == str(prepared.value)


def test_each_part_is_looked_at_and_no_more_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 100)
    monkeypatch.setattr(csv_source, "BLOCKS", 1)
    names = ("train", "valid", "test")
    for name in names:
        (tmp_path / f"{name}.csv").write_text("\n".join([*GOOD, "far,below,x"]))
    split = {"kind": "given", **{name: str(tmp_path / f"{name}.csv") for name in names}}
    spec = ADAPTER.validate_python({"source": "csv", "labels": "y", "split": split})
    check_first_rows(spec)
    (tmp_path / "test.csv").write_text("\n".join([GOOD[0], "u1,2,3"]))
    with pytest.raises(DataError, match=r"test\.csv, line 2: label 'y' is '3'"):
        check_first_rows(spec)
    (tmp_path / "test.csv").write_text("user,minute,y\nu1,2,0")
    with pytest.raises(DataError, match=r"test\.csv: its columns differ .*hour, minute"):
        check_first_rows(spec)


def test_parquet_is_looked_at_and_generated_data_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"user": [[["a"]]] * 9, "y": [0, 1, 0] * 3}), tmp_path / "d.parquet")
    spec = ADAPTER.validate_python({"source": "parquet", "path": str(tmp_path / "d.parquet"), "labels": "y"})
    with pytest.raises(DataError, match="column 'user' of type"):
        check_first_rows(spec)
    monkeypatch.setattr("sharkbench.data.columns.Columns.open", lambda spec: itertools.count())
    check_first_rows(ADAPTER.validate_python("synthetic"))
    check_first_rows(ADAPTER.validate_python("criteo_x1"))
