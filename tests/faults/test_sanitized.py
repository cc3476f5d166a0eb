"""The C kernels under an address and an undefined-behaviour sanitizer: every format's tests, and mutants of tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sharkbench.formats import kernels
from tests.faults import sanitized
from tests.faults.counting import Count

BATCH = 200
VARIANTS = [] if kernels.compiled is None else kernels.compiled.available()
FORMATS = [
    f"tests/formats/test_{name}.py" for name in ("contract", "composed_kernels", "tiered_kernels", "casts", "states")
]
pytestmark = pytest.mark.faults  # the sanitizers take minutes to compile


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return sanitized.build(tmp_path_factory.mktemp("sanitized"))
    except RuntimeError as error:
        pytest.skip(str(error))


def run(built: Path, variant: str, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=sanitized.ROOT,
        env=sanitized.surroundings(built, variant),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_format_is_served_without_a_report(built: Path, variant: str, count: Count) -> None:
    run(built, variant, "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.faults.sanitized", *FORMATS)
    count(f"tests of all formats under sanitizers, {variant}")


@pytest.mark.parametrize("number", range(10))
def test_mutated_states_and_artifacts_are_served_or_refused_without_a_report(
    built: Path, number: int, tmp_path: Path, count: Count
) -> None:
    variant = VARIANTS[number % len(VARIANTS)]
    told = [
        json.loads(line)
        for line in run(
            built, variant, "tests.faults.mutated_states", str(tmp_path), str(number * BATCH), str(BATCH)
        ).splitlines()
    ]
    assert len(told) == BATCH
    assert all("\n" not in one["said"] for one in told)
    count("mutated state dicts and artifacts under sanitizers: served, or refused in one line", BATCH)
    count("... of them refused", sum(one["said"] != "served" for one in told))
