"""Counts by promise, printed when the tests are over, also where they ran in several processes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.faults.counting import Count

_PREFIX = "promise: "


@pytest.fixture
def count(record_property: Any) -> Count:
    """Say that a promise has held once more; only a test that passes counts."""

    def add(promise: str, times: int = 1) -> None:
        record_property(_PREFIX + promise, times)

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    held: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if report.when == "call" and name.startswith(_PREFIX):
                held[name.removeprefix(_PREFIX)] += value
    if held:
        terminalreporter.section("promises held")
        for promise, times in sorted(held.items()):
            terminalreporter.write_line(f"{times:>7,}  {promise}")
