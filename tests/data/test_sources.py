"""Malformed input: one clear error that names file and row."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import datasets
import pytest
from pydantic import TypeAdapter

from sharkbench.data.prepare import prepare
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
ROWS = [f"u{i % 7},{i % 5},{i % 2}" for i in range(60)]


def attempt(tmp_path: Path, rows: list[str], first: str = "user,hour,y", **spec: Any) -> Any:
    file = tmp_path / "d.csv"
    file.write_text("\n".join([first, *rows]) + "\n")
    return prepare(ADAPTER.validate_python({"source": "csv", "path": str(file), "labels": "y", **spec}), tmp_path)


def changed(row: int, text: str) -> list[str]:
    return [*ROWS[:row], text, *ROWS[row + 1 :]]


@pytest.mark.parametrize(
    ("rows", "spec", "says"),
    [
        (changed(9, "u1,2"), {}, r"d\.csv, line 11: 2 values instead of 3"),
        (changed(9, "u1,2,0,4"), {}, r"d\.csv, line 11: 4 values instead of 3"),
        (changed(9, "u1,2,2"), {}, r"d\.csv, line 11: label 'y' is '2': not 0 or 1"),
        (changed(9, "u1,2,"), {}, r"d\.csv, line 11: label 'y' is missing"),
        (["", *changed(9, "u1,2,x")], {}, r"d\.csv, line 12: label 'y' is 'x'"),
        (changed(9, "u1,2,"), {"labels": {"column": "y", "positive": [1]}}, r"line 11: label 'y' is missing"),
        (changed(9, "u1,2,x"), {"labels": {"column": "y", "at_least": 1}}, r"line 11: label 'y' is 'x': at_least"),
        (ROWS, {"labels": "click"}, r"d\.csv: column 'click' \(named by labels\) is missing"),
        (ROWS, {"ignore": ["usr"]}, r"column 'usr' \(named by ignore\) is missing; did you mean 'user'"),
        (ROWS, {"group": "usr"}, r"column 'usr' \(named by group\) is missing"),
        (changed(3, "u1,noon,0"), {"numeric": ["hour"]}, r"d\.csv, line 5: column 'hour' is 'noon': not a number"),
        (changed(3, "u1,noon,0"), {"split": "temporal", "time": "hour"}, r"line 5: column 'hour' is 'noon': a"),
        (ROWS, {"split": {"kind": "given", "column": "hour"}}, r"line 2: column 'hour' is '0': not one of"),
        (ROWS, {"split": {"kind": "given", "column": "hour", "train": "0", "valid": "1", "test": "2"}}, "line 5: "),
        ([r[:-1] + "1" for r in ROWS], {}, r"label 'y' is 1 in all 48 rows of the train split"),
        (ROWS[:2], {}, r"the valid split is empty \(2 rows in all\)"),
        ([], {}, r"there are no rows at all"),
        (ROWS, {"ignore": ["user", "hour"]}, r"no column is left as an input"),
    ],
)  # fmt: skip
def test_errors_name_file_and_row(tmp_path: Path, rows: list[str], spec: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        attempt(tmp_path, rows, **spec)


def test_duplicate_and_absent_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: column 'user' is there twice"):
        attempt(tmp_path, ROWS, first="user,user,y")
    with pytest.raises(DataError, match="columns names 2"):
        attempt(tmp_path, ROWS, first="u0,0,0", header=False, labels="b", columns=["a", "b"])


def test_truncated_gzip(tmp_path: Path) -> None:
    file = tmp_path / "d.csv.gz"
    text = "user,y\n" + "".join(f"user{i * 7919 % 10007},{i % 2}\n" for i in range(20_000))
    file.write_bytes(gzip.compress(text.encode())[:-2000])
    with pytest.raises(DataError, match=r"d\.csv\.gz, after line \d+: the gzip stream ends early"):
        prepare(ADAPTER.validate_python({"source": "csv", "path": str(file), "labels": "y"}), tmp_path)


def test_not_text_and_not_parquet(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_bytes(b"user,y\n" + b"\xff\xfe,1\n" * 20)
    with pytest.raises(DataError, match="not UTF-8"):
        prepare(ADAPTER.validate_python({"source": "csv", "path": str(file), "labels": "y"}), tmp_path)
    with pytest.raises(DataError, match="no Parquet file"):
        prepare(ADAPTER.validate_python({"source": "parquet", "path": str(file), "labels": "y"}), tmp_path)


def test_separator_missing_markers_and_headerless_files(tmp_path: Path) -> None:
    rows = [f"{'?' if i % 3 else 'a'}\t {i % 4} \t{'no' if i % 2 else 'yes.'}" for i in range(60)]
    (tmp_path / "d.tsv").write_text("\r\n".join(rows))
    label = {"column": "c2", "negative": ["no"], "name": "answer"}
    spec = {"source": "csv", "path": str(tmp_path / "d.tsv"), "header": False, "missing": ["?"], "labels": label}
    data = prepare(ADAPTER.validate_python(spec), tmp_path)
    assert data.vocabulary("c0") == [None, "a"]
    assert sorted(data.vocabulary("c1")[1:]) == ["0", "1", "2", "3"]
    assert data.schema.labels == ("answer",)
    assert data.summary["rows"] == {"train": 48, "valid": 6, "test": 6}


def test_given_files_with_and_without_validation(tmp_path: Path) -> None:
    for name, rows in {"train": ROWS, "valid": ROWS[:10], "test": ROWS[:20]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["user,hour,y", *rows]))
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "valid", "test")}
    spec = {"source": "csv", "labels": "y", "split": {"kind": "given", **files}}
    assert prepare(ADAPTER.validate_python(spec), tmp_path).summary["rows"] == {"train": 60, "valid": 10, "test": 20}
    spec["split"] = {"kind": "given", **files, "valid": None, "valid_fraction": 0.2}
    assert prepare(ADAPTER.validate_python(spec), tmp_path).summary["rows"] == {"train": 48, "valid": 12, "test": 20}


def test_bars_folder_and_local_hub_folder(tmp_path: Path) -> None:
    for name, rows in {"train": ROWS, "valid": ROWS[:10], "test": ROWS[:20]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["user,hour,label", *rows]))
    bars = {"source": "bars", "dataset": "frappe_x1", "path": str(tmp_path)}
    data = prepare(ADAPTER.validate_python(bars), tmp_path / "cache")
    assert data.summary["rows"] == {"train": 60, "valid": 10, "test": 20}
    (tmp_path / "valid.csv").unlink()
    with pytest.raises(Exception, match=r"valid\.csv: no such file"):
        prepare(ADAPTER.validate_python(bars), tmp_path / "cache")


def test_a_hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = tmp_path / "hub"
    folder.mkdir()
    for name, rows in {"train": ROWS, "validation": ROWS[:10], "test": ROWS[:20]}.items():
        (folder / f"{name}.csv").write_text("\n".join(["user,hour,y", *rows]))
    spec: dict[str, Any] = {"source": "hub", "id": str(folder), "labels": "y", "split": "given"}
    data = prepare(ADAPTER.validate_python(spec), tmp_path / "cache")
    assert data.name == "hub"
    assert data.summary["rows"] == {"train": 60, "valid": 10, "test": 20}
    random = prepare(ADAPTER.validate_python({**spec, "split": "random"}), tmp_path / "cache")
    assert random.summary["rows"] == {"train": 48, "valid": 6, "test": 6}
    with pytest.raises(DataError, match="there is no split 'trian'; did you mean 'train'"):
        prepare(ADAPTER.validate_python({**spec, "split": "random", "rows": "trian"}), tmp_path / "cache")
