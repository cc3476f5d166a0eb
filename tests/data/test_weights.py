"""A column of sample weights: what is stored of it, that no model sees it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.prepare import fingerprint, prepare
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import DataError

PARTS = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
COMMON = {"source": "csv", "labels": "y", "split": {"kind": "given", "column": "part"}}


def write(folder: Path, weights: list[Any]) -> dict[str, Any]:
    lines = [f"{i % 3},{w},{i % 2},{part}" for i, (w, part) in enumerate(zip(weights, PARTS, strict=True))]
    (folder / "d.csv").write_text("\n".join(["u,w,y,part", *lines]) + "\n")
    return {**COMMON, "path": str(folder / "d.csv")}


def prepared(folder: Path, **spec: Any) -> PreparedDataset:
    return prepare(ADAPTER.validate_python(spec), folder / "cache")


def stored(data: PreparedDataset) -> np.ndarray:
    found = [data.splits[part].weight for part in ("train", "valid", "test")]
    return torch.cat([weight for weight in found if weight is not None]).numpy()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1e308), min_size=20, max_size=20))
def test_weights_are_stored_relative_to_their_split(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    values[0:2] = values[12:14] = values[16:18] = [1.0, 2.0]
    data = prepared(tmp_path_factory.mktemp("data"), **write(tmp_path_factory.mktemp("data"), values), weight="w")
    exact = np.array(values, dtype=np.longdouble)
    for part, weight in zip(("train", "valid", "test"), np.split(stored(data), [12, 16]), strict=True):
        own = exact[[name == part for name in PARTS]]
        np.testing.assert_allclose(weight, (own / own.mean()).astype(np.float64), rtol=1e-6, atol=1e-44)
        effective = data.summary["weight"]["effective_rows"][part]
        assert effective == pytest.approx(float(own.sum() ** 2 / (own @ own)), rel=1e-5)


def test_a_weight_is_never_an_input(tmp_path: Path) -> None:
    spec = write(tmp_path, [0.5 + i for i in range(20)])
    data = prepared(tmp_path, **spec, weight="w", numeric={"*": "dense"}, categorical="u")
    assert [field.name for field in data.schema.fields] == ["u"]
    assert data.schema.dense == ()
    assert data.summary["weight"]["column"] == "w"
    with_it = prepared(tmp_path, **spec)
    assert [field.name for field in with_it.schema.fields] == ["u", "w"]
    without = prepared(tmp_path, **spec, ignore="w")
    assert without.splits["train"].weight is None
    assert "weight" not in without.summary
    for part, split in data.splits.items():
        assert torch.equal(split.ids, without.splits[part].ids)
        assert torch.equal(split.labels, without.splits[part].labels)


def test_the_key_changes_nothing_of_data_that_does_not_use_it(tmp_path: Path) -> None:
    spec = write(tmp_path, [1] * 20)
    prints = [fingerprint(ADAPTER.validate_python({**spec, **more})) for more in ({}, {"weight": ""}, {"weight": "w"})]
    assert prints[0] == prints[1] != prints[2]


def test_weights_are_the_same_from_parquet_of_any_type(tmp_path: Path) -> None:
    weights = [0.5, 1, 2, 4] * 5
    spec = write(tmp_path, weights)
    expected = stored(prepared(tmp_path, **spec, weight="w"))
    for number, kind in enumerate((pa.float64(), pa.float32(), pa.decimal128(6, 2), pa.string())):
        table = {"u": [i % 3 for i in range(20)], "y": [i % 2 for i in range(20)], "part": PARTS}
        values = pa.array([str(w) for w in weights]).cast(kind)
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({**table, "w": values}), path)
        data = prepared(tmp_path, **{**spec, "source": "parquet", "path": str(path)}, weight="w")
        assert np.array_equal(stored(data), expected)


@pytest.mark.parametrize("value", ["", "-0.5", "inf", "nan", "1e400", "heavy"])
def test_a_weight_that_is_none_is_refused_by_file_row_and_column(tmp_path: Path, value: str) -> None:
    spec = write(tmp_path, [1, 1, value, *[1] * 17])
    found = f"is '{value}'" if value and value != "nan" else "is "
    with pytest.raises(DataError, match=rf"d\.csv, line 4: weight 'w' {found}.*: every row needs a finite number"):
        prepared(tmp_path, **spec, weight="w")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1] * 12 + [0] * 4 + [1] * 4, "weight 'w' is 0 in all rows of the valid split"),
        ([1] * 16 + [1, 0, 1, 0], "label 'y' is 0 in all 2 rows that weigh anything of the test split"),
    ],
)
def test_splits_that_cannot_be_judged_are_refused(tmp_path: Path, weights: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, **write(tmp_path, weights), weight="w")


def test_a_column_that_is_missing_or_has_another_role_is_refused(tmp_path: Path) -> None:
    spec = write(tmp_path, [1] * 20)
    with pytest.raises(DataError, match=r"column 'W' \(named by weight\) is missing"):
        prepared(tmp_path, **spec, weight="W")
    for role in ("labels", "categorical", "numeric", "group", "time", "split"):
        column = {"split": "part", "labels": "y"}.get(role, "u")
        more = {} if column != "u" else {role: [column] if role in ("categorical", "numeric") else column}
        with pytest.raises(ValidationError, match=f"column '{column}' is in both .*{role}.*; it can have one role"):
            ADAPTER.validate_python({**spec, **more, "weight": column})
