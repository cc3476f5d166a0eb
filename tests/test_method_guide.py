"""The guide for authors is so: its method keeps the contract, its other examples run."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sharkbench.cli.app import app
from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.training import step as steps

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "method_guide.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(taught_hash/\w+\.py)`\n\n```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL))
EXAMPLES = [
    text
    for text in re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    if text not in FILES.values()
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv(registry.FOLDERS, str(tmp_path))
    return tmp_path


def test_the_guide_s_method_keeps_the_contract(folder: Path) -> None:
    assert {file.name for file in (folder / "taught_hash").iterdir()} == {
        "__init__.py", "sizes.py", "layer.py", "loss.py",
    }  # fmt: skip
    done = CliRunner().invoke(app, ["check", "taught_hash"])
    assert done.exit_code == 0, done.output


def test_its_doors_do_something(folder: Path) -> None:
    """Without teacher or pull the method would come to other rows; the scales have moved by their own optimizer."""
    models = []
    for settings in ({}, {"teaching": 0.0}, {"pull": 0.0}):
        bench = tiny_bench("deepfm", None)
        method = registry.parse({"name": "taught_hash", "fraction": 0.5, **settings})
        models.append(method.compress(bench).embedding)
        assert [epoch.stage for epoch in bench.ledger.history] == ["full", "train"]
    rows = [layer.members[0] for layer in models]
    tables = [part.table for part in rows]
    assert not torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
    assert (rows[0].scale != 1).all()


def test_the_other_examples_run(folder: Path) -> None:
    ordinary, in_turns, loop = EXAMPLES
    lines = inspect.getsource(steps.ordinary).splitlines()
    body = [line for line in lines[1:] if '"""' not in line]
    assert ordinary.splitlines()[1:] == body, "it is the loop's own step"

    bench = tiny_bench("dnn", None)
    registry.get("taught_hash")
    package = sys.modules[registry.get("taught_hash").__module__].__name__
    layer = sys.modules.get(f"{package}.layer") or __import__(f"{package}.layer", fromlist=["ScaledHash"])
    rows = layer.ScaledHash(bench.schema, bench.fields, bench.width, [50, 20, 10, 2], 0.1, 0.01)
    model = bench.model(bench.table(rows))
    names: dict[str, Any] = {"model": model, "bench": bench, "torch": torch}
    exec(in_turns, names)
    bench.train(model, step=names["in_turns"])
    assert (rows.scale != 1).all()
    exec(loop, names)
    assert [epoch.stage for epoch in bench.ledger.history] == ["train", "shrink", "shrink", "shrink"]
    assert names["loop"].best_epoch >= 1
