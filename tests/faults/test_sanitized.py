"""The C kernels under an address and an undefined-behaviour sanitizer: every format's tests, and mutants of tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sharkbench.formats import kernels
from tests.faults import sanitized
from tests.faults.counting import Count

BATCH = 500
VARIANTS = [] if kernels.compiled is None else kernels.compiled.available()
FORMATS = [
    f"tests/formats/test_{name}.py"
    for name in ("contract", "layer", "ids", "composed_kernels", "tiered_kernels", "casts", "states")
]
pytestmark = pytest.mark.faults  # every access is checked, which takes its time

MISUSE = """
import torch
from tests.faults import sanitized
sanitized.use()
from sharkbench.formats import kernels
table, rows = torch.zeros(8, 16), torch.tensor([7, {row}])
kernels.compiled.touch(table.data_ptr(), 64, rows.data_ptr() + {moved}, 2 - {moved}, 1)
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    missing = sanitized.missing(folder) if VARIANTS else "the installed package has none"
    if missing:
        pytest.skip(f"kernels are not sanitized here: {missing}")
    return sanitized.build(folder)


def start(built: Path, variant: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=sanitized.ROOT,
        env=sanitized.surroundings(built, variant),
        capture_output=True,
        text=True,
        check=False,
    )


def run(built: Path, variant: str, *command: str) -> str:
    done = start(built, variant, "-m", *command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


@pytest.mark.parametrize(
    ("row", "moved", "report"),
    [(7, 0, None), (8, 0, "heap-buffer-overflow"), (7, 1, "misaligned address")],
)
def test_misuse_is_reported(built: Path, row: int, moved: int, report: str | None) -> None:
    done = start(built, VARIANTS[0], "-c", MISUSE.format(row=row, moved=moved))
    assert bool(done.returncode) == bool(report), done.stderr
    assert (report or "") in done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_format_is_served_without_a_report(built: Path, variant: str, count: Count) -> None:
    told = run(built, variant, "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.faults.sanitized", *FORMATS)
    passed = re.search(r"(\d+) passed", told)
    assert passed, told
    count(f"tests of formats under sanitizers without a report, {variant}", int(passed[1]))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("variant", VARIANTS)
def test_mutated_states_and_artifacts_are_served_or_refused_without_a_report(
    built: Path, variant: str, number: int, tmp_path: Path, count: Count
) -> None:
    first = str(number * BATCH)
    lines = run(built, variant, "tests.faults.mutated_states", str(tmp_path), first, str(BATCH)).splitlines()
    told = [json.loads(line) for line in lines]
    assert len(told) == BATCH
    assert all("\n" not in one["said"] for one in told)
    count(f"mutated state dicts and artifacts under sanitizers, served or refused in one line, {variant}", BATCH)
    count(f"... of them refused, {variant}", sum(one["said"] != "served" for one in told))
