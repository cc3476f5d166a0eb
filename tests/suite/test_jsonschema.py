"""The JSON Schema that editors use says what the loader accepts, and its committed copy is current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sharkbench.contract import registry
from sharkbench.suite.jsonschema import rendered, suite_schema

SUITES = Path(__file__).resolve().parents[2] / "suites"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return suite_schema()


def test_the_committed_copy_is_current() -> None:
    own = rendered(lambda kind: kind.__module__.startswith("sharkbench."))
    assert (SUITES / "schema.json").read_text() == own, "run 'sharkbench schema > suites/schema.json'"


def test_it_is_plain_json_without_loose_ends(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    for reference in {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}:
        assert reference in schema["$defs"]


def test_every_method_is_there_by_name_and_with_its_settings(schema: dict[str, Any]) -> None:
    bare, *mappings = schema["$defs"]["MethodEntry"]["anyOf"]
    assert bare["enum"] == registry.names()
    described = {}
    for reference in mappings:
        definition = schema["$defs"][reference["$ref"].rsplit("/", 1)[-1]]
        assert definition["additionalProperties"] is False
        described[definition["properties"].get("name", {}).get("const")] = definition
    assert set(registry.names()) <= set(described)
    for name, method in registry.available().items():
        assert set(method.model_fields) <= set(described[name]["properties"])
        assert "as" in described[name]["properties"]


def test_backbones_and_data_sets_may_change_the_recipe(schema: dict[str, Any]) -> None:
    for entry in ("BackboneEntry", "DatasetEntry"):
        for option in schema["$defs"][entry]["anyOf"]:
            if "$ref" in option:
                definition = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]]
                assert definition["properties"]["train"]["$ref"] == "#/$defs/Recipe"


@pytest.mark.parametrize("file", sorted(SUITES.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_suites_point_to_it_and_use_its_keys(file: Path, schema: dict[str, Any]) -> None:
    text = file.read_text()
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert set(yaml.safe_load(text)) <= set(schema["properties"])
