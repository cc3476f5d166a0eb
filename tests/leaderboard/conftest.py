from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sharkbench.results.store import Store
from sharkbench.suite.freshness import Freshness
from tests.leaderboard import handmade


@pytest.fixture(scope="module", autouse=True)
def _by_the_present_code() -> Iterator[None]:
    """Runs made by hand are of no code; tests/runner/test_verify.py has the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Freshness, "state", lambda self, result: "fresh")
        patch.setattr(Freshness, "outdated", lambda self, result, speed: False)
        yield


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def add_run(out: Path) -> Callable[..., str]:
    """Adds a finished run to the store under ``out``: see :func:`handmade.add_run`."""
    return partial(handmade.add_run, Store(out))
