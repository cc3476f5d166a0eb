"""Every format, backbone and source keeps its contract, those of the docs too; and the checks notice what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from sharkbench.backbones import BACKBONES
from sharkbench.contract import backbone_check, format_check, registry, source_check
from sharkbench.contract.check import check_method
from sharkbench.data.spec import SOURCES
from sharkbench.formats.registry import FORMATS


@pytest.mark.parametrize("check", format_check.CHECKS)
@pytest.mark.parametrize("kind", FORMATS.names())
def test_format_keeps_the_contract(kind: str, check: str) -> None:
    format_check.CHECKS[check](FORMATS.get(kind))


@pytest.mark.parametrize("check", backbone_check.CHECKS)
@pytest.mark.parametrize("name", BACKBONES.names())
def test_backbone_keeps_the_contract(name: str, check: str) -> None:
    backbone_check.CHECKS[check](BACKBONES.get(name))


@pytest.mark.parametrize("check", source_check.CHECKS)
@pytest.mark.parametrize("name", SOURCES.names())
def test_source_keeps_the_contract(name: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    source_check.CHECKS[check](SOURCES.get(name))


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (check_method, "neighbours"),
        (format_check.check_format, "grouped"),
        (backbone_check.check_backbone, "summed"),
        (source_check.check_source, "jsonl"),
    ],
)
def test_what_the_docs_show_keeps_the_contract(check: Callable[[str], Any], name: str, folder: Path) -> None:
    outcomes = list(check(name))
    assert len(outcomes) >= 7
    assert [outcome for outcome in outcomes if not outcome.passed] == []


FAULTS = [
    ("methods/neighbours/grouped.py", "return 4 * width", "return 2 * width", "takes the bytes"),
    ("methods/neighbours/grouped.py", 'only(tensors, {"table"}, cls.kind)', "pass", "refuses damaged tensors"),
    ("methods/neighbours/grouped.py", "- self.shifts) // self", "- self.shifts) * 0 // self", "gives the rows"),
    ("methods/neighbours/grouped.py", '{"group": self.group}', '{"group": 1}', "survives saving"),
    ("backbones/summed/network.py", "shape.dimension + shape.num_dense", "shape.dimension + 1", "gives a logit"),
    ("backbones/summed/network.py", "vectors.sum(1)", "vectors.mean(1)", "fields can be dropped"),
    ("backbones/summed/network.py", "vectors.sum(1)", "(1 + vectors).prod(1) * 0", "gives a logit"),
    ("sources/jsonl/reader.py", "first=0", "first=1", "gives chunks in order"),
    ("sources/jsonl/reader.py", "done=number / len(self.files)", "done=0.5", "gives chunks in order"),
    ("sources/jsonl/reader.py", "in enumerate(self.files, 1)", "in enumerate([self.files.pop()], 1)", "reads the same"),
]  # fmt: skip
CHECKED = {
    "methods": lambda: format_check.check_format("grouped"),
    "backbones": lambda: backbone_check.check_backbone("summed"),
    "sources": lambda: source_check.check_source("jsonl"),
}


@pytest.mark.parametrize(("file", "right", "wrong", "noticed_by"), FAULTS)
def test_faults_are_noticed(file: str, right: str, wrong: str, noticed_by: str, folder: Path) -> None:
    text = (folder / file).read_text()
    assert right in text, "the example is out of date"
    (folder / file).write_text(text.replace(right, wrong))

    failed = [outcome.check for outcome in CHECKED[file.partition("/")[0]]() if not outcome.passed]
    assert any(title.startswith(noticed_by) for title in failed), failed


def test_one_without_examples_cannot_be_checked(folder: Path) -> None:
    file = folder / "sources" / "jsonl" / "__init__.py"
    file.write_text(file.read_text().replace("def example(", "def other("))
    assert not any(outcome.passed for outcome in source_check.check_source("jsonl") if "example" in outcome.check)


def test_methods_do_not_count_as_formats() -> None:
    assert not set(FORMATS.names()) & set(registry.names())
