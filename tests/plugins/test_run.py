"""A suite of made-up plug-ins of every kind runs, its keys cover their code, and its table says what it came with."""

from __future__ import annotations

from pathlib import Path

import pytest

import sharkbench
from sharkbench.api import run
from sharkbench.data.columns import Columns
from sharkbench.data.spec import SOURCES
from sharkbench.errors import ArtifactError, InputError
from sharkbench.keys.closure import Snapshot
from sharkbench.model import artifact
from sharkbench.plugins import METHODS
from sharkbench.suite.jsonschema import suite_schema
from sharkbench.suite.load import load
from sharkbench.suite.plan import plan

SUITE = """
datasets: [{{source: jsonl, path: {data}, labels: click}}]
backbones: [{{name: summed, hidden: 8}}]
methods: [full, neighbours]
dimension: 4
train: {{batch_size: 32, epochs: 1}}
measure: {{lookup: false}}
tracking: {{enabled: false}}
"""


@pytest.fixture
def suite(folder: Path) -> Path:
    jsonl = SOURCES.get("jsonl").example(folder)
    assert isinstance(jsonl, Columns)
    file = folder / "mine.yaml"
    file.write_text(SUITE.format(data=jsonl.files()[0]))
    return file


def test_a_suite_of_them_runs_and_its_table_is_loaded(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(str(suite), out=tmp_path / "out", cache_dir=tmp_path / "cache")
    tables = {artifact.inspect(file).parts[0].kind: file.parent for file in tmp_path.rglob(artifact.PACKED)}
    assert {"dense", "grouped"} == tables.keys()
    assert artifact.inspect(tables["dense"]).parts[0].provider == ""
    layer = sharkbench.load(tables["grouped"])
    assert layer.nbytes == artifact.tensor_bytes(tables["grouped"])
    assert artifact.load_model(tables["grouped"]).backbone.config.name == "summed"  # type: ignore[union-attr]

    monkeypatch.delenv("SHARKBENCH_METHODS")
    with pytest.raises(ArtifactError, match=r"unknown format 'grouped'.*it came with the method 'neighbours'"):
        sharkbench.load(tables["grouped"])
    monkeypatch.delenv("SHARKBENCH_BACKBONES")
    with pytest.raises(ArtifactError, match=r"unknown backbone 'summed'.*is needed here too"):
        artifact.load_model(tables["dense"])


@pytest.mark.parametrize(
    ("file", "of"),
    [
        ("methods/neighbours/__init__", {"neighbours"}),
        ("methods/neighbours/grouped", {"neighbours"}),
        ("backbones/summed/__init__", {"full", "neighbours"}),
        ("backbones/summed/network", {"full", "neighbours"}),
        ("sources/jsonl/__init__", {"full", "neighbours"}),
        ("sources/jsonl/reader", {"full", "neighbours"}),
    ],
)
def test_keys_cover_the_code_of_plug_ins(suite: Path, file: str, of: set[str], folder: Path, tmp_path: Path) -> None:
    planned = plan(load(str(suite)), cache_dir=tmp_path / "cache")
    source = folder / f"{file}.py"
    source.write_text(source.read_text() + "\n_CHANGED = 1\n")
    now = Snapshot()
    assert {spec.method.name for spec in planned if spec.by(now).key != spec.key} == of


def test_a_format_that_is_asked_for_by_name_is_in_the_key(folder: Path) -> None:
    file = folder / "methods" / "by_name.py"
    file.write_text("from sharkbench.formats.registry import format_of_kind\n\nGrouped = format_of_kind('grouped')\n")
    module = next(one.module for one in METHODS.found() if one.name == "by_name")
    assert "user.neighbours.grouped" in Snapshot().closure([module])


def test_mistakes_in_their_settings_have_line_and_suggestion(suite: Path) -> None:
    good = suite.read_text()
    for right, wrong, says in (
        ("hidden: 8", "hiden: 8", r":3: backbones\[0\]: unknown key 'hiden'; did you mean 'hidden'"),
        ("hidden: 8", "hidden: x", r":3: backbones\[0\]\.hidden: must be a valid integer, got 'x'"),
        (
            "name: summed",
            "name: sumed",
            r":3: backbones\[0\]: unknown backbone 'sumed'; did you mean 'summed'",
        ),
        (
            "labels: click",
            "lables: click",
            r":2: datasets\[0\]: .*unknown key 'lables'; did you mean 'labels'",
        ),
        ("source: jsonl", "source: json", r":2: datasets\[0\]: unknown source 'json'; did you mean 'jsonl'"),
    ):
        suite.write_text(good.replace(right, wrong))
        with pytest.raises(InputError, match=says):
            load(str(suite))


def test_the_json_schema_knows_them(folder: Path) -> None:
    definitions = suite_schema()["$defs"]
    assert "summed" in definitions["BackboneEntry"]["anyOf"][0]["enum"]
    assert definitions["Summed"]["properties"]["hidden"]["description"] == "Units of the hidden layer."
    assert definitions["JsonLines"]["properties"]["source"]["const"] == "jsonl"
    assert {"$ref": "#/$defs/JsonLines"} in definitions["DatasetEntry"]["anyOf"]
