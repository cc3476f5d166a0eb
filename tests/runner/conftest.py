"""A small suite whose runs are executed by ``fakes``, and what is needed to run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sharkbench.data.prepare import prepared_path
from sharkbench.results.store import Store
from sharkbench.runner import Summary, run_suite
from sharkbench.runner.events import Event
from sharkbench.suite.load import load
from sharkbench.suite.model import Suite
from sharkbench.suite.plan import plan
from sharkbench.suite.run import RunSpec

FAKES = "tests.runner.fakes"


class Bench:
    """A suite, its output directory, and what its runs have noted there."""

    def __init__(self, folder: Path) -> None:
        self.out, self.cache = folder / "out", folder / "cache"
        self.store = Store(self.out)
        self.events: list[Event] = []
        self.executor: str | dict[str, Any] = "local"

    def suite(self, *, lookup: bool = False) -> Suite:
        return load(
            {
                "name": "faked",
                "datasets": [{"source": "synthetic", "rows": 1000}],
                "backbones": ["fm"],
                "methods": ["full"],
                "measure": {"lookup": lookup},
                "executor": self.executor,
                "tracking": {"enabled": False},
            }
        )

    def plan(self, *ways: str, timeout: float | None = None, lookup: bool = False) -> list[RunSpec]:
        """One run per way to go, which is its method's label; seeds tell the runs apart."""
        [run] = plan(self.suite(lookup=lookup), cache_dir=self.cache)
        prepared_path(run.dataset, self.cache).mkdir(parents=True, exist_ok=True)
        return [
            run.model_copy(update={"method_label": way, "seed": number, "timeout": timeout})
            for number, way in enumerate(ways)
        ]

    def run(self, *ways: str, timeout: float | None = None, lookup: bool = False, **how: Any) -> Summary:
        return self.run_plan(self.plan(*ways, timeout=timeout, lookup=lookup), **how)

    def run_plan(self, runs: Sequence[RunSpec], **how: Any) -> Summary:
        watch: Callable[[Event], None] = how.pop("on_event", self.events.append)
        return run_suite(
            self.suite(), runs, self.out, cache_dir=self.cache, on_event=watch,
            execute=f"{FAKES}:execute", measure=f"{FAKES}:measure", **how,
        )  # fmt: skip

    def diary(self, word: str) -> list[str]:
        """What the runs have noted about themselves, after ``word``."""
        file = self.out / "diary.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
