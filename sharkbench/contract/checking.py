"""Checks of a contract, one after the other: what ``sharkbench check`` prints and the project's own tests run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Checks = Mapping[str, Callable[[T], str | None]]
"""From what is promised to its check, which returns a note or raises ``AssertionError`` with one sentence."""


@dataclass(frozen=True)
class Outcome:
    check: str
    passed: bool
    message: str


def outcomes(checks: Checks[T], subject: T) -> Iterator[Outcome]:
    """Run every check on ``subject``."""
    for title, check in checks.items():
        try:
            note = check(subject)
            yield Outcome(title, True, note or "")
        except AssertionError as error:
            yield Outcome(title, False, str(error))
        except Exception as error:
            yield Outcome(title, False, f"{type(error).__name__}: {error}")
