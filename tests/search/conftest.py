"""A small suite whose runs are executed by ``fakes``, and what is needed to search it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sharkbench.data.prepare import prepared_path
from sharkbench.search.conduct import Searched, run_search
from sharkbench.search.events import SearchEvent
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite

FAKES = "tests.search.fakes"


class Bench:
    """A folder in which a faked suite is searched, and what its runs have noted there."""

    def __init__(self, folder: Path) -> None:
        self.out, self.cache = folder / "out", folder / "cache"
        self.events: list[SearchEvent] = []

    def suite(self, **search: Any) -> Suite:
        keys = {name: search.pop(name) for name in ("datasets", "methods", "budgets", "seeds") if name in search}
        suite = load(
            {
                "name": "faked",
                "datasets": [{"source": "synthetic", "rows": 1000}],
                "backbones": ["dnn"],
                "methods": ["full", "hash", "qr"],
                "budgets": [0.3],
                "measure": {"lookup": False},
                "tracking": {"enabled": False},
                **keys,
                "search": {"retrain": False, **search},
            }
        )
        prepared_path(suite.datasets[0].spec, self.cache).mkdir(parents=True, exist_ok=True)
        return suite

    def search(self, jobs: int = 2, **search: Any) -> Searched:
        return self.search_suite(self.suite(**search), jobs)

    def search_suite(self, suite: Suite, jobs: int = 2) -> Searched:
        return run_search(
            suite, self.out, jobs=jobs, cache_dir=self.cache, on_event=self.events.append,
            execute=f"{FAKES}:execute", measure=f"{FAKES}:measure",
        )  # fmt: skip

    def diary(self, word: str, folder: str = "search") -> list[str]:
        """What the runs have noted about themselves, after ``word``."""
        file = self.out / folder / "diary.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
