"""Fixtures that every room may use, and which tests are quick."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

COSTLY = re.compile(
    r"subprocess|multiprocessing|CliRunner|playwright|\.runner\b|mlflow|hypothesis|prepare\(|fit\(|workbench"
)
"""What tests say that start processes, train or try many inputs: each takes seconds."""

QUICK_SECONDS = 4.0
"""Longer than this and a file of tests is not quick, whatever it says."""

TAKEN = "sharkbench/seconds"
"""Where the cache keeps what each file took on this machine when it last ran."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true",
        help="without tests that start processes or train, and without files that took long when they last ran here",
    )  # fmt: skip


@lru_cache
def _costly(file: Path) -> bool:
    """Whether a file of tests says so, or the fixtures of its room do."""
    near = [file] if file.parent == ROOT / "tests" else [file, file.parent / "conftest.py"]
    return any(COSTLY.search(f.read_text()) for f in near if f.exists())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("quick"):
        return
    cache = getattr(config, "cache", None)  # there may be none
    known: dict[str, float] = cache.get(TAKEN, {}) if cache else {}
    slow = {
        item
        for item in items
        if known.get(_file(item.nodeid), 0) > QUICK_SECONDS or (_file(item.nodeid) not in known and _costly(item.path))
    }
    config.hook.pytest_deselected(items=[item for item in items if item in slow])
    items[:] = [item for item in items if item not in slow]


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


_taken: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process that the user started, also where others run the tests."""
    _taken[_file(report.nodeid)] += report.duration  # type: ignore[assignment]


def pytest_sessionfinish(session: pytest.Session) -> None:
    cache = getattr(session.config, "cache", None)
    if cache and not hasattr(session.config, "workerinput"):
        known: dict[str, float] = cache.get(TAKEN, {})
        cache.set(TAKEN, known | {file: round(seconds, 2) for file, seconds in _taken.items()})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: ``$SHARKBENCH_DATA``, else ``../shared/data``; skips where there is none."""
    folder = Path(os.environ.get("SHARKBENCH_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; SHARKBENCH_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all its tables: making them takes seconds, copying them does not."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file
