"""All cases trained by two processes, once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


def two_processes(module: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """``python -m module arguments`` twice, told what ``torchrun`` would tell them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def ends(processes: Sequence[subprocess.Popen[str]], seconds: float = 280) -> list[tuple[int, str]]:
    """Exit code and standard error of each."""
    try:
        told = [process.communicate(timeout=seconds)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="session")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """What each of the two processes has come to, by case."""
    base = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist share what one of them has done.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            for code, text in ends(two_processes("tests.distributed.cases", str(folder))):
                assert code == 0, text
    return [torch.load(folder / f"of {rank}.pt") for rank in range(2)]
