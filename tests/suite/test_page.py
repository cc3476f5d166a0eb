"""docs/suites.md and its reference name every key, and the examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sharkbench.errors import InputError
from sharkbench.measure.spec import MeasureSpec
from sharkbench.suite.executors import LocalExecutor, RayExecutor
from sharkbench.suite.filters import FILTERS
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite, Tracking
from sharkbench.training.recipe import Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "suites.md").read_text()
REFERENCE = (DOCS / "suites_reference.md").read_text()


@pytest.mark.parametrize(
    "model", [Suite, Recipe, MeasureSpec, LocalExecutor, RayExecutor, Tracking], ids=lambda model: model.__name__
)
def test_every_key_is_explained(model: type[BaseModel]) -> None:
    prose = re.sub(r"```.*?```", "", PAGE + REFERENCE, flags=re.DOTALL)
    code = " ".join(re.findall(r"`([^`]+)`", prose))
    assert [key for key in model.model_fields if not re.search(rf"\b{key}\b", code)] == []


def test_every_filter_is_named() -> None:
    assert [key for key in FILTERS if f"`{key}`" not in PAGE] == []


@pytest.fixture
def example(tmp_path: Path) -> Path:
    file = tmp_path / "suite.yaml"
    file.write_text(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[0])
    return file


def test_the_example_is_so_many_runs(example: Path) -> None:
    suite = load(example)
    per_seed = sum(len(suite.budgets) if entry.spec.budgeted else 1 for entry in suite.methods)
    assert len(suite.datasets) * len(suite.backbones) * per_seed * len(suite.seeds) == 60
    assert "= 60 runs" in PAGE
    assert [entry.label for entry in suite.methods] == ["full", "hash", "qr", "halves"]


def test_the_mistake_is_told_as_shown(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example.write_text(example.read_text().replace("operation: mult", "operation: mul"))
    monkeypatch.chdir(example.parent)
    with pytest.raises(InputError) as caught:
        load("suite.yaml")
    assert f"```text\n{caught.value}\n```" in PAGE
