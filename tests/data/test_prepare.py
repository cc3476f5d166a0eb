"""From rows to ids: equal to a slow reference, once, atomically."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.encoders import Log2, Quantiles
from sharkbench.data.prepare import fingerprint, open_prepared, prepare, prepared_path
from sharkbench.data.schema import PADDING
from sharkbench.data.spec import DatasetSpec
from sharkbench.errors import ArtifactError, InputError
from tests.data import reference

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(["" if v is None else v for v in row] for row in zip(*columns.values(), strict=True))
    return path


def prepared(cache: Path, **spec: Any) -> PreparedDataset:
    return prepare(ADAPTER.validate_python(spec), cache)


def by_part(parts: list[str]) -> dict[str, list[int]]:
    return {name: [i for i, part in enumerate(parts) if part == name] for name in ("train", "valid", "test")}


PARTS = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
LABEL = [0, 1] * 10
VALUES = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "ä", "10", "9"]), st.text("xyz", min_size=1, max_size=3))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=20, max_size=20), st.lists(VALUES, min_size=20, max_size=20), st.integers(1, 3))
def test_ids_equal_the_reference(
    tmp_path_factory: pytest.TempPathFactory, first: list[str | None], second: list[str | None], min_count: int
) -> None:
    folder = tmp_path_factory.mktemp("data")
    file = write_csv(folder / "d.csv", {"u": first, "y": LABEL, "v": second, "part": PARTS})
    data = prepared(
        folder, source="csv", path=str(file), labels="y", min_count=min_count, categorical=["u", "v"],
        split={"kind": "given", "column": "part"}, group="u",
    )  # fmt: skip
    rows = by_part(PARTS)
    offset = 0
    for number, (name, values) in enumerate({"u": first, "v": second}.items()):
        train = [values[i] for i in rows["train"]]
        known = reference.vocabulary(train, min_count)
        assert data.vocabulary(name) == known
        assert data.schema.fields[number].cardinality == len(known)
        expected = {part: reference.encode([values[i] for i in where], known) for part, where in rows.items()}
        for part, ids in expected.items():
            assert (data.splits[part].ids[:, number] - offset).tolist() == ids
            assert data.splits[part].labels[:, 0].tolist() == [LABEL[i] for i in rows[part]]
        frequencies = data.schema.frequencies[offset : offset + len(known)]
        assert frequencies.tolist() == np.bincount(expected["train"], minlength=len(known)).tolist()
        offset += len(known)
    groups = torch.cat([data.splits[part].group for part in ("train", "valid", "test")]).tolist()
    assert len(set(zip(groups, first, strict=True))) == len(set(groups)) == len(set(first))


def test_types_are_inferred_and_can_be_overridden(tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b"] * 20,
        "whole": [1, 2] * 20,
        "floats": [i / 7 for i in range(40)],
        "whole_floats": [float(i % 3) for i in range(40)],
        "y": [0, 1] * 20,
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    common = {"labels": "y", "source": "parquet", "path": str(tmp_path / "d.parquet")}
    how = {name: entry["how"] for name, entry in prepared(tmp_path, **common).columns.items()}
    assert how == {"text": "categorical", "whole": "categorical", "floats": "quantiles", "whole_floats": "categorical"}
    data = prepared(tmp_path, **common, numeric={"whole": "dense", "*floats": "log2"}, categorical=["text"])
    how = {name: entry["how"] for name, entry in data.columns.items()}
    assert how == {"text": "categorical", "whole": "dense", "floats": "log2", "whole_floats": "log2"}
    assert data.schema.dense == ("whole",)
    dense = torch.cat([data.splits[p].dense for p in ("train", "valid", "test")]).unique()
    assert len(dense) == 2


def test_csv_and_parquet_give_the_same_data(tmp_path: Path) -> None:
    columns = {
        "i": list(range(5)) * 8,
        "f": [0.5 * (i % 9) for i in range(40)],
        "b": [True, False] * 20,
        "y": [0, 1, 1, 0] * 10,
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    table = {**columns, "b": [int(b) for b in columns["b"]]}
    write_csv(tmp_path / "d.csv", table)
    one = prepared(tmp_path, source="csv", path=str(tmp_path / "d.csv"), labels="y")
    two = prepared(tmp_path, source="parquet", path=str(tmp_path / "d.parquet"), labels="y")
    assert one.schema == two.schema
    for part in one.splits:
        assert torch.equal(one.splits[part].ids, two.splits[part].ids)


def test_multi_valued_fields_share_a_vocabulary_and_pad(tmp_path: Path) -> None:
    tags = ["a,b", "a", None, "b, a,c,d", ",", "zz", "a", "a"] * 5
    parts = (["train"] * 5 + ["test", "train", "valid"]) * 5
    table = {"tag": tags, "y": [0, 0, 0, 0, 1, 0, 1, 0] + [1] * 8 + [0, 1] * 12, "part": parts}
    file = write_csv(tmp_path / "d.csv", table)
    data = prepared(
        tmp_path, source="csv", path=str(file), labels="y", split={"kind": "given", "column": "part"},
        multivalued={"tag": {"slots": 3, "pooling": "sum"}},
    )  # fmt: skip
    assert data.vocabulary("tag") == [None, "a", "b", "c"]  # d is the fourth of its row, zz is not in train
    field = data.schema.fields[0]
    assert (field.slots, field.pooling, data.schema.num_slots) == (3, "sum", 3)
    expected = [
        [1, 2, PADDING],
        [1, PADDING, PADDING],
        [0, PADDING, PADDING],
        [2, 1, 3],
        [0, PADDING, PADDING],
        [1, PADDING, PADDING],
    ]
    assert data.splits["train"].ids[:6].tolist() == expected
    assert data.splits["test"].ids[0].tolist() == [0, PADDING, PADDING]
    assert data.schema.frequencies.tolist() == [10, 20, 10, 5]


def test_lists_are_multi_valued_without_a_separator(tmp_path: Path) -> None:
    table = pa.table({"tag": [["a", "b"], ["b"], None, []] * 10, "y": [0, 1, 1, 0] * 10})
    pq.write_table(table, tmp_path / "d.parquet")
    data = prepared(tmp_path, source="parquet", path=str(tmp_path / "d.parquet"), labels="y", multivalued=["tag"])
    assert data.vocabulary("tag") == [None, "b", "a"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float), min_size=1, max_size=50), st.integers(2, 10))
def test_quantile_buckets_are_ordered_and_even(numbers: list[float], bins: int) -> None:
    import polars as pl

    counts = pl.DataFrame({"value": [f"{x:.17g}" for x in numbers], "count": [1] * len(numbers)})
    encoder = Quantiles("x", counts, 1, bins)
    buckets = np.searchsorted(encoder.edges, np.array(numbers))
    largest_tie = max(numbers.count(x) for x in numbers)
    assert np.bincount(buckets).max() <= math.ceil(len(numbers) / bins) + largest_tie
    assert len(encoder.edges) < bins
    assert encoder.vocabulary.cardinality == len(set(buckets.tolist())) + 1


def test_log2_buckets() -> None:
    import polars as pl

    values = ["-3", "-1", "0", "1", "2", "2.5", "3", "100", "101", "1e9"]
    encoder = Log2("x", pl.DataFrame({"value": [*values, None], "count": [1] * 11}), 1)
    names = encoder.buckets(np.array([float(v) for v in values] + [np.nan])).to_list()
    assert names[:6] == ["-ln(-v)^2=1", "-1", "0", "1", "2", "ln(v)^2=0"]
    assert names[6:10] == [f"ln(v)^2={math.floor(math.log(v) ** 2)}" for v in (3, 100, 101, 1e9)]
    assert names[10] is None
    assert encoder.encode(pl.Series(["100", "101", "abc"]))[[0, 1, 2, 3], 0].tolist()[2:] == [0, 0]


def test_nothing_is_learned_from_validation_and_test(tmp_path: Path) -> None:
    columns = {"x": [i / 3 for i in range(40)], "u": ["a"] * 40, "y": [0, 1] * 20, "t": list(range(40))}
    spec: dict[str, Any] = {
        "source": "csv",
        "labels": "y",
        "split": "temporal",
        "time": "t",
        "numeric": {"x": "quantiles"},
    }
    one = prepared(tmp_path, path=str(write_csv(tmp_path / "a.csv", columns)), **spec)
    columns["x"][32:] = [1e9] * 8
    columns["u"][32:] = ["new"] * 8
    two = prepared(tmp_path, path=str(write_csv(tmp_path / "b.csv", columns)), **spec)
    assert one.schema == two.schema
    assert one.columns == two.columns
    assert np.array_equal(one.schema.frequencies, two.schema.frequencies)
    assert "t" not in one.columns


def test_datasets_reads_a_split(tmp_path: Path) -> None:
    data = prepared(tmp_path, source="synthetic", rows=2000)
    rows = datasets.Dataset.from_file(str(data.path / "train.arrow")).with_format("numpy")
    assert np.array_equal(rows[:]["ids"], data.splits["train"].ids.numpy())
    assert np.array_equal(rows[:]["labels"], data.splits["train"].labels.numpy())


def test_a_split_is_not_copied_into_memory(tmp_path: Path) -> None:
    data = prepared(tmp_path, source="synthetic", rows=2000)
    address = data.splits["train"].ids.data_ptr()
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("train.arrow")]
    spans = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    assert any(low <= address < high for low, high in spans)


def test_the_fingerprint_follows_content_and_settings_not_names(tmp_path: Path) -> None:
    columns = {"u": ["a", "b"] * 20, "y": [0, 1] * 20}
    one, two = write_csv(tmp_path / "one.csv", columns), write_csv(tmp_path / "two.csv", columns)
    spec = {"source": "csv", "path": str(one), "labels": "y"}

    def digest(**changes: Any) -> str:
        return fingerprint(ADAPTER.validate_python({**spec, **changes}), tmp_path)

    assert digest() == digest(path=str(two)) == digest(name="other")
    assert len({digest(), digest(min_count=2), digest(split={"seed": 1}), digest(missing=["b"])}) == 4
    before = digest()
    text = one.read_text()
    one.write_text(text.replace("a,0", "c,0"))  # same size
    os.utime(one, ns=(0, 1))
    assert digest() != before
    assert prepare(ADAPTER.validate_python(spec), tmp_path).name == "one"


def test_two_processes_prepare_once(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom sharkbench.data.prepare import prepare\n"
        "from sharkbench.data.sources.synthetic import SyntheticSpec\n"
        "data = prepare(SyntheticSpec(rows=20_000), Path(sys.argv[1]))\n"
        "print((data.path / 'dataset.json').stat().st_ino, len(data.splits['train']))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {child.communicate(timeout=120)[0] for child in children}
    assert len(answers) == 1
    assert answers.pop().endswith(" 16000\n")


def test_an_interrupted_preparation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ADAPTER.validate_python({"source": "synthetic", "rows": 2000})
    path = prepared_path(spec, tmp_path)
    dead = path.parent / f"{path.name}.making-1"  # as a killed process leaves it
    dead.mkdir(parents=True)

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sharkbench.data.encode.encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(spec, tmp_path)
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".lock"] == []
    assert len(prepare(spec, tmp_path).splits["train"]) == 1600


def test_a_damaged_cache_says_what_to_do(tmp_path: Path) -> None:
    data = prepared(tmp_path, source="synthetic", rows=2000)
    file = data.path / "train.arrow"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="delete the folder"):
        open_prepared(data.path)
    with pytest.raises(InputError, match="did you mean 'f01'"):
        data.vocabulary("f01x")
