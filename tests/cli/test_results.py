"""``report``, ``compare`` and ``merge`` on stores with figures chosen by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sharkbench.cli.app import app
from sharkbench.results.store import Store
from tests.leaderboard.handmade import add_run


def _call(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        add_run(Store("a"), "full", None, seed, {"click": 0.75})
        add_run(Store("b"), "full", None, seed, {"click": 0.76})
    Path("mine.yaml").write_text(
        "description: Mine.\n"
        "datasets: [synthetic]\nbackbones: [dnn]\nmethods: [full]\n"
        "references: [{dataset: synthetic, backbone: dnn, value: 0.7505, source: somebody}]\n"
    )
    return tmp_path


def test_a_report_from_runs_and_again_from_its_archive(results: Path) -> None:
    code, said, _ = _call("report", "mine.yaml", "--out", "a")
    assert code == 0
    files = said.splitlines()
    assert files[:5] == [
        f"a/{n}" for n in ("report.html", "leaderboard.csv", "leaderboard.parquet", "runs.csv", "runs.parquet")
    ]
    assert all(Path(file).is_file() for file in files)
    first = Path("a/report.html").read_text()
    for part in ("Mine.", "somebody", "reproduced", "<h1>mine</h1>"):
        assert part in first

    Path("a/runs").rename("elsewhere")
    table = Path("a/leaderboard.csv").read_text()
    code, shown, _ = _call("leaderboard", "mine.yaml", "--out", "a")
    assert code == 0
    assert "0.7500" in shown
    assert Path("a/leaderboard.csv").read_text() == table
    assert _call("report", "mine.yaml", "--out", "a")[0] == 0
    assert Path("a/report.html").read_text() == first


def test_claims_are_judged_from_an_archive_too_and_their_file_stays(results: Path) -> None:
    for seed in range(3):
        add_run(Store("a"), "hash", 0.25, seed, {"click": 0.74 + 0.0001 * seed})
    Path("mine.yaml").write_text(
        "datasets: [synthetic]\nbackbones: [dnn]\nmethods: [full, hash]\nbudgets: [0.25]\n"
        "claims: [{says: hash loses nothing, method: hash, against: full, at_least: 0}]\n"
    )
    code, from_runs, _ = _call("claims", "mine.yaml", "--out", "a")
    assert code == 0
    assert "NOT HELD: hash loses nothing" in from_runs
    assert _call("report", "mine.yaml", "--out", "a")[0] == 0
    Path("a/runs").rename("elsewhere")
    Path("a/claims.csv").write_text("as committed")

    code, from_archive, _ = _call("claims", "mine.yaml", "--out", "a")

    assert code == 0
    assert from_runs == f"{from_archive}\na/claims.csv\n"
    assert Path("a/claims.csv").read_text() == "as committed"


def test_no_results_are_one_line(results: Path) -> None:
    code, _, complaint = _call("report", "mine.yaml", "--out", "nothing")
    assert code == 2
    assert complaint == "nothing: neither a directory with results nor a store.parquet; name the --out of a suite\n"
    assert _call("merge", "nothing", "--out", "all")[0] == 2
    Path("empty/runs").mkdir(parents=True)
    code, _, complaint = _call("compare", "empty", "empty")
    assert (code, complaint) == (2, "neither empty nor empty holds a finished run\n")


def test_two_sets_side_by_side(results: Path) -> None:
    code, said, _ = _call("compare", "a", "b", "--csv", "c.csv")
    assert code == 0
    assert "0.7500 > 0.7600" in said
    assert said.endswith("c.csv\n")
    assert Path("c.csv").read_text().count("\n") == 2


def test_joined_results_have_a_leaderboard(results: Path) -> None:
    code, said, _ = _call("merge", "a", "b", "--out", "all")
    assert code == 0
    assert said.count("differs: synthetic, dnn, full, seed") == 3
    assert "3 runs added, 0 replaced by better ones, 3 kept as they were" in said
    assert Path("all/leaderboard.csv").is_file()
