from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharkbench import leaderboard
from sharkbench.leaderboard.columns import leaderboard_columns
from sharkbench.leaderboard.csvfile import cell_text
from sharkbench.leaderboard.run_columns import run_columns
from sharkbench.tasks.ctr import Ctr
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_empty_store_gives_headers_only(out: Path) -> None:
    board, runs = leaderboard.write(out)

    assert (board, runs) == (out / "leaderboard.csv", out / "runs.csv")
    assert board.read_text() == ",".join(column.name for column in leaderboard_columns({})) + "\n"
    assert runs.read_text() == ",".join(column.name for column in run_columns({})) + "\n"


@pytest.mark.parametrize("columns", [leaderboard_columns({"ctr": Ctr.metrics}), run_columns({"ctr": Ctr.metrics})])
def test_columns_have_names_of_their_own(columns: tuple) -> None:
    assert len({column.name for column in columns}) == len(columns)


def test_the_leaderboard_row(out: Path, add_run: AddRun) -> None:
    add_run("plain", None, 0, {"click": 0.75})
    add_run("hash", 0.25, 0, {"click": 0.70}, speed=speed_of(2.0))
    add_run("hash", 0.25, 1, {"click": 0.72}, speed=speed_of(2.5))
    add_run("hash", 0.25, 2, status="failed", kind="timeout", reason="longer than 60 s")

    plain, row = read(leaderboard.write(out)[0])

    assert plain["budget"] == ""
    assert plain["lookups_per_second"] == ""
    assert row == {
        "dataset": "synthetic",
        "split": "random",
        "backbone": "dnn",
        "method": "hash",
        "label": "click",
        "budget": "0.25",
        "status": "partial",
        "reason": "timeout: longer than 60 s",
        "code_state": "fresh",
        "bytes": "250",
        "bytes_ratio": "0.25",
        "param_ratio": "0.25",
        "auc_mean": "0.71",
        "auc_std": "0.014142",
        "auc_delta": "-0.05",
        "auc_delta_low": "",
        "auc_delta_high": "",
        "auc_delta_p": "",
        "rank": "",
        "auc_resolution": "",
        "remarks": "1 of 3 seeds failed; fewer than 3 seeds: no interval, no rank",
        "logloss_mean": "0.29",
        "n_seeds": "2",
        "n_failed": "1",
        "lookups_per_second": "225000000",
        "lookups_ratio_torch": "4.5",
        "lookups_ratio_fp32": "2.25",
        "large_rows": "10000000",
        "large_lookups_per_second": "675000000",
        "large_lookups_ratio_torch": "13.5",
        "large_lookups_ratio_fp32": "6.75",
        "model_samples_per_second": "50000",
        "model_ratio_fp32": "1.1",
        "large_model_samples_per_second": "20000",
        "large_model_ratio_fp32": "1.2",
        "other_cpu_percent": "3",
        "train_seconds": "8.5",
        "train_samples_per_second": "100",
        "train_peak_bytes": "100000000",
        "train_epochs": "1",
    }


def test_a_row_per_run_and_label_says_where_it_comes_from(out: Path, add_run: AddRun) -> None:
    key = add_run("hash", 0.25, 0, {"click": 0.7, "view": 0.6}, speed=speed_of(2.0))
    add_run("hash", 0.25, 1, status="infeasible", reason="too small")

    rows = read(leaderboard.write(out)[1])

    assert [(row["label"], row["seed"], row["status"], row["auc"]) for row in rows] == [
        ("click", "0", "ok", "0.7"),
        ("click", "1", "infeasible", ""),
        ("view", "0", "ok", "0.6"),
        ("view", "1", "infeasible", ""),
    ]
    told = {
        "key": key,
        "data_fingerprint": "f00d",
        "git_revision": "abc123",
        "git_dirty": "false",
        "packages": "numpy=2.4.6 torch=2.13.0",
        "cpu": "a processor",
        "threads": "2",
        "kernels": "dense=torch",
        "superseded": "false",
        "pack_gap": "-0.001",
    }
    assert {name: rows[0][name] for name in told} == told


def test_superseded_runs_are_listed_and_marked(out: Path, add_run: AddRun) -> None:
    add_run(auc={"click": 0.5}, epochs=1, started="2026-01-01")
    add_run(auc={"click": 0.7}, epochs=2, started="2026-01-02")
    board, runs = leaderboard.write(out)

    assert [row["auc_mean"] for row in read(board)] == ["0.7"]
    assert [(row["auc"], row["superseded"]) for row in read(runs)] == [("0.7", "false"), ("0.5", "true")]


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(out: Path, add_run: AddRun) -> None:
    add_run(auc={"click": 0.7})
    first = [path.read_bytes() for path in leaderboard.write(out)]

    assert [path.read_bytes() for path in leaderboard.write(out)] == first
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["leaderboard.csv", "runs.csv"]


def test_names_cannot_be_formulas(out: Path, add_run: AddRun) -> None:
    add_run("=cmd|' /C calc'!A0", 0.25, 0, {"@click": 0.7})

    (row,) = read(leaderboard.write(out)[0])

    assert row["method"].startswith("'=cmd")
    assert row["label"] == "'@click"


@given(st.text() | st.text(alphabet="=+-@ \t\r\n\x00'\",a"))
def test_no_text_begins_like_a_formula_and_csv_returns_it(text: str) -> None:
    told = cell_text(text)

    assert not told.lstrip().startswith(("=", "+", "-", "@"))
    if text.isprintable():
        assert told in (text, f"'{text}")
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([told, "end"])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [[told, "end"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (7, "7"),
        (-0.0123456789, "-0.012346"),
        (1.5, "1.5"),
        (123456789.6, "123456790"),
        (float("nan"), ""),
        (0.0, "0"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert cell_text(value) == text  # type: ignore[arg-type]
