"""What the present code has not made, and nobody verified, says so in every view and is averaged with nothing else."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from sharkbench import leaderboard
from sharkbench.cli.plans import print_plan
from sharkbench.leaderboard.cells import cells_of
from sharkbench.leaderboard.standings import standings_of
from sharkbench.results.records import Result
from sharkbench.results.store import Store
from sharkbench.suite.freshness import Freshness
from tests.leaderboard.test_terminal import printed

AddRun = Callable[..., str]
STATES = {"hash": "stale", "qr": "verified on other hardware", "int8": "verified"}


@pytest.fixture
def store(out: Path, add_run: AddRun, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(Freshness, "state", lambda self, result: STATES.get(result.method_label, "fresh"))
    monkeypatch.setattr(Freshness, "outdated", lambda self, result, speed: result.method_label == "int8")
    for seed in range(3):
        add_run("full", None, seed, {"click": 0.75})
        for method in STATES:
            add_run(method, 0.25, seed, {"click": 0.7 + seed / 1000})
    return Store(out)


def rows(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


def test_tables_and_terminal_say_which(store: Store) -> None:
    leaderboard.write(store.out)
    for name in ("leaderboard.csv", "runs.csv"):
        assert {method: row["code_state"] for method, row in rows(store.out / name).items()} == {
            "full": "fresh",
            **STATES,
        }
    remarks = {method: row["remarks"] for method, row in rows(store.out / "leaderboard.csv").items()}
    assert remarks["full"] == ""
    assert "stale: the code of 3 of 3 runs has changed since, and nobody verified them" in remarks["hash"]
    assert "3 of 3 runs are of earlier code, verified on other hardware" in remarks["qr"]
    text = printed(store.out)
    assert "hash [stale]" in text
    assert "qr [verified ~]" in text
    assert "[verified ~]: by earlier code, verified on other hardware" in text
    assert "int8 [" not in text
    assert "[stale]: by code that has changed since; 'sharkbench verify' shows" in text


def test_stale_runs_are_left_out_where_there_are_others_and_never_averaged_with_them(
    out: Path, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where they are the newer ones, as after a merge of another checkout's results."""
    for seed in range(3):
        add_run("hash", 0.25, seed, {"click": 0.7}, started="2026-01-01T00:00:00+00:00")
        add_run("hash", 0.25, seed, {"click": 0.6}, started="2026-02-01T00:00:00+00:00", epochs=7)

    def state(self: Freshness, result: Result) -> str:
        return "stale" if result.quality["click"]["auc"] == 0.6 else "fresh"

    monkeypatch.setattr(Freshness, "state", state)
    [cell] = cells_of(Store(out))
    assert cell.value_mean == pytest.approx(0.7)
    assert (len(cell.runs), len(cell.superseded), cell.state) == (3, 3, "fresh")
    monkeypatch.setattr(Freshness, "state", lambda self, result: "stale")
    [cell] = cells_of(Store(out))
    assert cell.value_mean == pytest.approx(0.6)
    [standing] = standings_of([cell])
    assert standing.remarks[0].text.startswith("stale: the code of 3 of 3 runs")


def test_a_plan_says_how_much_of_it_is_there_by_earlier_code(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [spec for key in store.keys() if (spec := store.spec(key)) is not None]  # noqa: SIM118
    now = [spec.model_copy(update={"code": f"{spec.code} and later"}) for spec in specs]
    print_plan(now[:5], store.out, jobs=1)
    assert "5 runs, 5 to do under" in capsys.readouterr().out.replace("\n", " ")
    print_plan(now, store.out, jobs=1)
    assert "12 of them are there by earlier code: see 'sharkbench verify'" in capsys.readouterr().out
    print_plan(specs, store.out, jobs=1)
    assert "earlier code" not in capsys.readouterr().out
