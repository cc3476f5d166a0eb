"""``--shard`` of the commands: each machine plans its own part."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sharkbench.cli.app import app

SUITE = """
name: parted
datasets: [{source: synthetic, rows: 1000}]
backbones: [dnn, fm]
methods: [full, hash]
budgets: [0.5]
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHARKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "parted.yaml"
    file.write_text(SUITE)
    return file


@pytest.mark.parametrize("words", [["plan"], ["run", "--dry-run"]])
def test_each_shard_plans_the_runs_of_one_full_precision_model(suite: Path, words: list[str]) -> None:
    said = [CliRunner().invoke(app, [*words, str(suite), "--shard", f"{index}/2"]).stdout for index in (1, 2)]
    assert ["2 runs, 2 to do" in text for text in said] == [True, True]
    assert [("dnn" in text, "fm" in text) for text in said] == [(True, False), (False, True)]


def test_a_shard_that_cannot_be_is_refused_in_one_line(suite: Path) -> None:
    refused = CliRunner().invoke(app, ["run", str(suite), "--shard", "1/3"])
    assert refused.exit_code == 2
    assert "2 shards are the most" in refused.stderr
    assert "Traceback" not in refused.stderr
