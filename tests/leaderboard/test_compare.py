"""Two result sets side by side."""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.compare import Pairing, compare, print_comparison, write_comparison
from sharkbench.results.store import Store
from tests.leaderboard.handmade import add_run, speed_of


@pytest.fixture
def pairings(tmp_path: Path) -> dict[tuple[str, str], Pairing]:
    first, second = (partial(add_run, Store(tmp_path / name)) for name in "ab")
    for seed, noise in enumerate((0.0, 0.001, -0.001)):
        first("full", None, seed, {"click": 0.75 + noise})
        second("full", None, seed, {"click": 0.752 + noise}, speed=speed_of(2.0))
        first("hash", 0.1, seed, {"click": 0.70 + noise})
        second("hash", 0.1, seed, {"click": 0.71 - noise}, data_fingerprint="other")
        first("gone", 0.1, seed, {"click": 0.7})
        second("new", 0.1, seed, {"click": 0.7})
        first("broken", 0.1, seed, {"click": 0.7})
        second("broken", 0.1, seed, None, status="failed", reason="x")
        first("recipe", 0.1, seed, {"click": 0.7})
        second("recipe", 0.1, seed, {"click": 0.7 + noise}, epochs=9)
    found = compare(cells_of(Store(tmp_path / "a")), cells_of(Store(tmp_path / "b")))
    return {(pairing.name.method, pairing.name.budget): pairing for pairing in found}


def test_changes_are_paired_by_seed(pairings: dict[tuple[str, str], Pairing]) -> None:
    difference = pairings["full", ""].difference
    assert difference is not None
    assert difference.mean == pytest.approx(0.002)
    assert difference.n == 3
    assert difference.resolved
    assert pairings["full", ""].remark == ""


def test_what_cannot_be_compared_says_why(pairings: dict[tuple[str, str], Pairing]) -> None:
    assert {name: pairing.remark for (name, _), pairing in pairings.items()} == {
        "full": "",
        "hash": "other data: not compared",
        "gone": "only in the first",
        "new": "only in the second",
        "broken": "ok, then failed",
        "recipe": "other recipe",
    }
    assert list(pairings)[-1] == ("new", "0.1")
    for name in ("hash", "gone", "new", "broken"):
        assert pairings[name, "0.1"].difference is None
    assert pairings["recipe", "0.1"].difference is not None


def test_it_is_printed_and_written(pairings: dict[tuple[str, str], Pairing], tmp_path: Path) -> None:
    write_comparison(tmp_path / "c.csv", pairings.values())
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert float(rows["full"]["auc_change"]) == pytest.approx(0.002)
    assert rows["full"]["n_pairs"] == "3"
    assert rows["full"]["lookups_ratio_fp32_first"] == ""
    assert rows["full"]["lookups_ratio_fp32_second"] == "2"
    assert rows["hash"]["auc_change"] == ""
    stream = io.StringIO()
    print_comparison(pairings.values(), Console(file=stream, width=200))
    line = next(line for line in stream.getvalue().splitlines() if " full " in line)
    assert "0.7500 > 0.7520" in line
    assert "+0.0020" in line
    assert "- > 2.0x" in line
