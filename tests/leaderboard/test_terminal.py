from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sharkbench.leaderboard.terminal import WIDTH, print_leaderboard
from tests.leaderboard.handmade import speed_of

AddRun = Callable[..., str]


def printed(out: Path, *, terminal: bool = False, width: int | None = None) -> str:
    file = io.StringIO()
    print_leaderboard(
        out, Console(file=file, force_terminal=terminal, width=width, color_system="standard" if terminal else None)
    )
    return file.getvalue()


@pytest.fixture
def filled(out: Path, add_run: AddRun) -> Path:
    for seed in range(3):
        add_run("plain", None, seed, {"click": 0.7512, "long_view": 0.71}, speed=speed_of(1.0))
        add_run("hash", 0.25, seed, {"click": 0.72 + seed / 1000, "long_view": 0.7}, speed=speed_of(1.2))
        add_run("qr, a label that is as long as labels get", 0.25, seed, {"click": 0.73, "long_view": 0.69})
    add_run("qr", 0.01, 0, status="infeasible", reason="needs at least 300 bytes, the budget is 10")
    return out


def test_an_empty_store_says_so(out: Path) -> None:
    assert "No run has finished" in printed(out)


def test_plain_text_where_nobody_looks(filled: Path) -> None:
    text = printed(filled)

    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("!")) <= WIDTH
    assert text.count("synthetic, random split, dnn") == 2


def test_the_row_of_a_cell(filled: Path) -> None:
    row = next(line for line in printed(filled).splitlines() if " hash " in line)

    assert row.split() == ["hash", "250", "B", "25.0%", "0.7210", "±0.0010", "-0.0302", "3", "1.2x", "1.1x", "9.0s"]


def test_the_winner_of_a_budget_has_a_star(filled: Path) -> None:
    starred = [line for line in printed(filled).splitlines() if "* qr, a" in line or "* hash" in line]

    assert len(starred) == 2, "one per label"
    assert "* qr" in starred[0]
    assert "* hash" in starred[1]


def test_bold_on_a_terminal(filled: Path) -> None:
    lines = printed(filled, terminal=True, width=120).splitlines()

    assert any("\x1b[1m" in line and "* hash" in line for line in lines)


def test_reasons_stand_below(filled: Path) -> None:
    text = printed(filled)

    assert text.count("! synthetic, dnn, qr at 0.01: infeasible: needs at least 300 bytes, the budget is 10") == 1
    assert "infeasible" in text.split("* best")[0]


def test_names_are_not_markup(out: Path, add_run: AddRun) -> None:
    add_run("[red]hash[/]", 0.25, 0, {"click": 0.7})

    assert "[red]hash[/]" in printed(out, terminal=True, width=120)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_shows_every_method(filled: Path, width: int) -> None:
    text = printed(filled, terminal=True, width=width)

    assert "hash" in text
    assert ("1.2x" in text) == (width >= WIDTH)


def test_a_star_is_shared_where_seeds_cannot_tell(out: Path, add_run: AddRun) -> None:
    for seed, noise in enumerate((0.001, -0.001, 0.0)):
        add_run("hash", 0.25, seed, {"click": 0.73 + noise})
        add_run("qr", 0.25, seed, {"click": 0.7301 - noise})
        add_run("worse", 0.25, seed, {"click": 0.70 + noise})
    text = printed(out)

    assert "* qr" in text
    assert "* hash" in text
    assert "* worse" not in text
