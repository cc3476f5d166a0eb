"""Errors end as lines and exit codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner, Result

from sharkbench.cli.guard import guarded
from sharkbench.errors import DataError, InputError


def ended(error: BaseException) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)

    def fails() -> None:
        raise error

    command: Callable[[], None] = guarded(fails)
    app.command()(command)
    return CliRunner().invoke(app, [])


def test_what_a_user_can_cause_is_told_as_it_is() -> None:
    for error in (InputError("s.yaml:1: wrong"), DataError("d.csv, row 3: ragged")):
        done = ended(error)
        assert (done.exit_code, done.stderr) == (2, f"{error}\n")


def test_an_interrupt_has_its_own_code() -> None:
    assert ended(KeyboardInterrupt()).exit_code == 130


def test_a_bug_is_one_line_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARKBENCH_DEBUG", raising=False)
    done = ended(ValueError("several\nlines"))
    assert done.exit_code == 1
    assert done.stderr == "ValueError: several lines (this is a bug; SHARKBENCH_DEBUG=1 shows where)\n"


def test_a_bug_is_shown_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARKBENCH_DEBUG", "1")
    assert isinstance(ended(ValueError("x")).exception, ValueError)


def test_exit_codes_of_commands_stand() -> None:
    assert ended(typer.Exit(7)).exit_code == 7
