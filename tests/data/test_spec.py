"""What a suite may say about a data set, and what it is told when it says something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sharkbench.data.options import GivenSplit, Numeric, RandomSplit
from sharkbench.data.spec import SOURCES, DatasetSpec
from sharkbench.errors import InputError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DatasetSpec)
CSV = {"source": "csv", "path": "clicks.csv.gz", "labels": "click"}


def test_few_lines_are_enough() -> None:
    spec = ADAPTER.validate_python(CSV)
    assert spec.name == "clicks"
    assert [label.name for label in spec.labels] == ["click"]
    assert spec.split == RandomSplit()


@pytest.mark.parametrize("name", ["synthetic", "frappe_x1", "movielenslatest_x1", "criteo_x1", "avazu_x1"])
def test_bare_names(name: str) -> None:
    assert ADAPTER.validate_python(name).name == name


def test_short_forms() -> None:
    spec = ADAPTER.validate_python(
        {
            **CSV,
            "split": {"fractions": [0.5, 0.25, 0.25]},
            "numeric": {"age": "log2", "height": {"bins": 5}, "weight": None},
            "multivalued": {"tags": "|"},
            "ignore": "row",
        }
    )
    assert spec.split.kind == "random"
    assert spec.numeric == {"age": Numeric(how="log2"), "height": Numeric(bins=5), "weight": Numeric()}
    assert spec.multivalued["tags"].separator == "|"
    assert spec.ignore == ("row",)
    assert ADAPTER.validate_python({**CSV, "numeric": ["age"]}).numeric == {"age": Numeric()}


@pytest.mark.parametrize(
    "settings",
    [
        "synthetic",
        {"source": "kuairand", "path": "x", "ignore": ["video_duration"], "labels": ["is_click"]},
        {"source": "csv", "split": {"kind": "given", "train": "a.csv", "valid": None, "test": "b.csv"}, "labels": "y"},
    ],
)
def test_a_dumped_spec_reads_back_the_same(settings: Any) -> None:
    spec = ADAPTER.validate_python(settings)
    assert ADAPTER.validate_python(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("synthetik", "did you mean 'synthetic'"),
        ("csv", "needs more than its name"),
        (
            {"source": "csv", "path": "x", "labels": {"column": "y", "negative": [False]}},
            "true and false are YAML booleans",
        ),
        ({**CSV, "labels": {"column": "y", "positive": [1], "at_least": 2}}, "not several"),
        ({**CSV, "labels": []}, "at least 1"),
        ({**CSV, "labels": ["y", "y"]}, "same name twice"),
        ({**CSV, "split": "temporal"}, "needs a column"),
        ({**CSV, "split": {"kind": "random", "fractions": [0.9, 0.2, 0.1]}}, "sum to 1"),
        ({**CSV, "split": {"kind": "given"}}, "not both"),
        ({"source": "csv", "labels": "y"}, "path is missing"),
        ({**CSV, "columns": ["a", "b"]}, "header: false"),
        ({**CSV, "numeric": ["a"], "categorical": ["a"]}, "one role"),
        ({**CSV, "numeric": {"a": {"how": "log2", "bins": 3}}}, "bins belongs to"),
        ({**CSV, "separater": ";"}, "Extra inputs"),
        ({"source": "synthetic", "cardinalities": [3, 4], "importances": [1]}, "give as many"),
        ({"source": "synthetic", "cardinalities": [3, 4], "importances": [0, 0]}, "more than 0"),
    ],
)
def test_mistakes_are_explained(settings: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ADAPTER.validate_python(settings)


def test_paths_take_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.delenv("THERE", raising=False)
    for path in ("$HERE/a.csv", "${HERE}/a.csv", f"${{THERE:-{tmp_path}}}/a.csv", f"{tmp_path}/*.csv"):
        assert ADAPTER.validate_python({**CSV, "path": path}).files() == [tmp_path / "a.csv"]
    with pytest.raises(InputError, match="THERE is not set"):
        ADAPTER.validate_python({**CSV, "path": "$THERE/a.csv"}).files()
    with pytest.raises(InputError, match=r"b\.csv: no such file"):
        ADAPTER.validate_python({**CSV, "path": "$HERE/b.csv"}).files()


def test_every_key_is_documented_in_the_schema() -> None:
    sources = SOURCES.available()
    schemas = {name: kind.model_json_schema() for name, kind in sources.items()}
    undocumented = [
        f"{source}.{name}.{key}"
        for source, schema in schemas.items()
        for name, model in {**schema["$defs"], source: schema}.items()
        for key, entry in model["properties"].items()
        if "description" not in entry and key not in ("source", "kind")
    ]
    assert undocumented == []
    assert len(sources) == 8


def test_given_split_defaults_follow_hub_names() -> None:
    assert GivenSplit() == GivenSplit(train="train", valid="valid", test="test")


def test_the_spec_and_the_fingerprint_are_light() -> None:
    code = (
        "import sys\nfrom pydantic import TypeAdapter\nfrom sharkbench.data.spec import DatasetSpec\n"
        "from sharkbench.data.prepare import fingerprint\n"
        "fingerprint(TypeAdapter(DatasetSpec).validate_python('synthetic'))\n"
        "print([m for m in ('torch', 'pyarrow', 'datasets', 'polars', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
