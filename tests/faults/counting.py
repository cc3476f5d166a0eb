"""How often each promise was put to the test: counted by the tests, summed up at the end of ``make faults``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

Count = Callable[..., None]
"""``count(promise, times=1)``."""


def rounds(short: int, long: int) -> Iterator[Any]:
    """Numbers for ``parametrize``: the first ``short`` always run, those up to ``long`` in ``make faults`` only."""
    for number in range(long):
        yield pytest.param(number, marks=() if number < short else pytest.mark.faults)
