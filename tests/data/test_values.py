"""What single kinds of values become: lists with nulls, constants and outliers, hours, labels, names of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.encoders import FARTHEST, Dense
from sharkbench.data.prepare import prepare
from sharkbench.data.readers import csv as csv_source
from sharkbench.data.readers import records
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:data set")
ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
Y = [0, 1, 1, 0] * 10


def of_parquet(folder: Path, columns: dict[str, Any], **spec: Any) -> PreparedDataset:
    pq.write_table(pa.table({**columns, "y": Y}), folder / "d.parquet")
    spec = {"source": "parquet", "path": str(folder / "d.parquet"), "labels": "y", **spec}
    return prepare(ADAPTER.validate_python(spec), folder, progress=False)


def of_csv(folder: Path, lines: list[str], **spec: Any) -> PreparedDataset:
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    spec = {"source": "csv", "path": str(folder / "d.csv"), "labels": "y", **spec}
    return prepare(ADAPTER.validate_python(spec), folder, progress=False)


ELEMENTS = [
    ([3, None, 5], pa.int64(), ["3", "5"]),
    ([3.0, float("nan"), None, 0.5], pa.float32(), ["0.5", "3"]),
    (["a,b", None, " c "], pa.string(), ["a,b", "c"]),
    ([True, None, True], pa.bool_(), ["1"]),
]


@pytest.mark.parametrize(("values", "element", "known"), ELEMENTS)
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, lambda element: pa.list_(element, 4)])
def test_a_null_in_a_list_counts_for_nothing(
    tmp_path: Path, values: list[Any], element: pa.DataType, known: list[str], kind: Any
) -> None:
    values = [*values, *[None] * (4 - len(values))]
    data = of_parquet(tmp_path, {"seen": pa.array([values] * 40, kind(element))}, multivalued=["seen"])
    assert sorted(data.vocabulary("seen")[1:]) == known
    assert (data.splits["train"].ids[:, 0] > 0).all()


def test_lists_of_lists_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'seen' of type .* cannot be read as plain values \(its lists hold"):
        of_parquet(tmp_path, {"seen": [[[1]]] * 40}, multivalued=["seen"])


def test_lists_without_the_role_are_told(tmp_path: Path) -> None:
    data = of_parquet(tmp_path, {"seen": [["a,b"], ["a", "b"], ["a", None, "b"], None] * 10})
    assert sorted(data.vocabulary("seen")[1:]) == ["a,b", r"a\,b"]
    assert any("'seen' holds lists" in said for said in data.summary["warnings"])


def moments(values: list[float], test: list[float]) -> tuple[Dense, np.ndarray]:
    frame = pl.DataFrame({"value": [repr(v) for v in values], "count": 1}).group_by("value").agg(pl.col("count").sum())
    encoder = Dense("x", frame)
    return encoder, encoder.encode(pl.Series([repr(v) for v in test]))[:-1, 0]


@settings(max_examples=100, deadline=None, phases=[Phase.generate])
@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), st.integers(1, 6000))
def test_a_constant_dense_column_has_scale_one(value: float, rows: int) -> None:
    encoder = Dense("x", pl.DataFrame({"value": [repr(value)], "count": [rows]}))
    assert (encoder.mean, encoder.scale) == (value, 1.0)


@settings(max_examples=200, deadline=None, phases=[Phase.generate])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20), st.floats(allow_nan=False))
def test_finite_numbers_stay_finite(values: list[float], other: float) -> None:
    encoder, scaled = moments(values, [*values, other])
    assert np.isfinite([encoder.mean, encoder.scale]).all()
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= FARTHEST


@pytest.mark.parametrize("shift", [0.0, 0.1, -1.7e12])
def test_mean_and_scale_are_those_of_the_rows(shift: float) -> None:
    values = (np.random.default_rng(0).normal(size=500) + shift).tolist()
    encoder, scaled = moments(values, values)
    assert encoder.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert encoder.scale == pytest.approx(np.std(values), rel=1e-6)
    assert not encoder.remark
    assert scaled.std() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("outliers", [[1e200], [-1e30, 1e300], [1e12] * 3])
def test_far_outliers_do_not_make_the_others_one_number(outliers: list[float]) -> None:
    values = np.random.default_rng(0).normal(size=500).tolist()
    encoder, scaled = moments([*values, *outliers], values)
    assert 0.5 < scaled.std() < 2
    assert "'x' has values so far out" in encoder.remark
    rare, _ = moments([0.0] * 480 + [1.0, 2.0] * 10 + outliers[:1], [0.0])
    assert rare.scale < 10


@pytest.mark.parametrize("block", [80, 1 << 20])
def test_a_missing_hour_of_avazu_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", block)
    monkeypatch.setattr(csv_source, "BLOCKS", 1)
    hours = ["" if i in (0, 33) else f"141021{i % 24:02d}" + ".0" * (i == 9) for i in range(100)]
    lines = ["id,click,hour,site", *(f"{i},{i % 2},{hour},s{i % 3}" for i, hour in enumerate(hours))]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    spec = ADAPTER.validate_python({"source": "avazu", "path": str(tmp_path / "train.csv")})
    data = prepare(spec, tmp_path, progress=False)
    assert sorted(data.vocabulary("hour")[1:]) == [f"{hour:02d}" for hour in range(24)]
    assert data.vocabulary("weekday") == [None, "2"]
    (tmp_path / "train.csv").write_text("\n".join([*lines[:70], "70,1,9,s1", *lines[70:]]))
    with pytest.raises(DataError, match=r"train\.csv, line 71: column 'hour' is '9': not YYMMDDHH, as the first"):
        prepare(spec, tmp_path, progress=False)


def test_numbers_and_dates_do_not_make_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_BYTES", 64)
    monkeypatch.setattr(csv_source, "BLOCKS", 1)
    days = [f"202204{10 + i % 20}" for i in range(40)]
    lines = ["u,t,y", *(f"u{i % 3},{day},{Y[i]}" for i, day in enumerate(days))]
    split = {"kind": "temporal", "column": "t"}
    assert of_csv(tmp_path, lines, split=split).summary["split"] == "temporal"
    lines[30] = lines[30].replace(days[29], "2022-04-19")
    with pytest.raises(DataError, match=r"line 31: column 't' is '2022-04-19': a number is needed, as in the rows be"):
        of_csv(tmp_path, lines, split=split)
    dates = [line.replace("202204", "2022-04-") for line in lines]
    dates[35] = "u1,20220425,1"
    with pytest.raises(DataError, match=r"line 36: column 't' is '20220425': an ISO date is needed, as in the rows b"):
        of_csv(tmp_path, dates, split=split)


@pytest.mark.parametrize("spelled", [("0", "1"), ("0.0", "1.0"), ("false", "True"), ("0e0", "+1")])
def test_labels_are_told_by_value(tmp_path: Path, spelled: tuple[str, str]) -> None:
    lines = ["u,y", *(f"u{i % 7},{spelled[y]}" for i, y in enumerate(Y))]
    for label in ("y", {"column": "y", "positive": [1]}, {"column": "y", "negative": ["0.0"]}):
        data = of_csv(tmp_path, lines, labels=label)
        assert sum(float(split.labels.sum()) for split in data.splits.values()) == 20
        assert not any("no row has the value" in said for said in data.summary["warnings"])


def test_listed_label_values_that_occur_nowhere_are_told(tmp_path: Path) -> None:
    lines = ["u,y", *(f"u{i % 7},{'yes' if y else 'no'}" for i, y in enumerate(Y))]
    data = of_csv(tmp_path, lines, labels={"column": "y", "positive": ["yes", "Yes"]})
    assert [said for said in data.summary["warnings"] if "no row has" in said] == [
        "no row has the value 'Yes' that label 'y' lists; check how the data spells it"
    ]


def test_a_column_that_is_there_twice_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(Y)] * 3, ["user", "y", " user"]), tmp_path / "d.parquet")
    spec = {"source": "parquet", "path": str(tmp_path / "d.parquet"), "labels": "y"}
    with pytest.raises(DataError, match=r"d\.parquet: column 'user' is there twice; rename one"):
        prepare(ADAPTER.validate_python(spec), tmp_path)


def test_row_numbers_of_pandas_are_no_input_unless_named(tmp_path: Path) -> None:
    columns = {"user": [f"u{i % 7}" for i in range(40)], "__index_level_0__": list(range(40))}
    assert list(of_parquet(tmp_path, columns).columns) == ["user"]
    assert "__index_level_0__" in of_parquet(tmp_path, columns, categorical=["__index_level_0__"]).columns
    split = {"kind": "temporal", "column": "__index_level_0__"}
    assert of_parquet(tmp_path, columns, split=split).splits["train"].labels[:, 0].tolist() == Y[:32]
    (tmp_path / "days").mkdir()
    for number, names in enumerate((["user", "y"], ["__index_level_0__", "user", "y"])):
        table = pa.table({**columns, "y": Y}).slice(number * 20, 20).select(names)
        pq.write_table(table, tmp_path / "days" / f"{number}.parquet")
    spec = {"source": "parquet", "path": f"{tmp_path}/days/*.parquet", "labels": "y"}
    assert sum(prepare(ADAPTER.validate_python(spec), tmp_path).summary["rows"].values()) == 40
