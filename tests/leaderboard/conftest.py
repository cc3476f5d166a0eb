from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sharkbench.store import Store
from tests.leaderboard import handmade


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def add_run(out: Path) -> Callable[..., str]:
    """Adds a finished run to the store under ``out``: see :func:`handmade.add_run`."""
    return partial(handmade.add_run, Store(out))
