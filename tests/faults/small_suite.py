"""A real suite that takes seconds, run as a user runs it, and what must be the same however often it was disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from sharkbench.results.records import Result
from sharkbench.results.store import Store
from tests.faults.peak import ROOT

# int8 starts from the full-precision model that lies in shared/, which the first of its runs makes or finds.
SUITE: dict[str, Any] = {
    "name": "small",
    "datasets": [{"source": "synthetic", "rows": 3000, "cardinalities": [200, 50, 10]}],
    "backbones": [{"name": "dnn", "hidden": [16], "dropout": 0.1}],
    "dimension": 4,
    "methods": ["full", "hash", "qr", "int8"],
    "budgets": [0.3],
    "seeds": 2,
    "train": {"epochs": 3, "batch_size": 256, "patience": 5, "accelerator": "cpu"},
    "measure": {"lookup": False},
    "tracking": {"enabled": False},
}
_MARK = "SHARKBENCH_FAULT"


class Folder:
    """A suite's file, its cache and its output, in a folder of their own."""

    def __init__(self, place: Path, **changes: Any) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.out, self.cache = place, place / "out", place / "cache"
        self.mark = uuid.uuid4().hex
        self.suite = place / "small.yaml"
        self.suite.write_text(json.dumps({**SUITE, **changes}))

    def start(self, *more: str, command: str = "run", **surroundings: str) -> subprocess.Popen[str]:
        """``sharkbench run`` in a process group of its own."""
        program = "import sys; from sharkbench.cli import main; sys.argv[0] = 'sharkbench'; main()"
        places = ["--out", str(self.out), *(["--cache", str(self.cache)] if command == "run" else [])]
        return subprocess.Popen(
            [sys.executable, "-c", program, command, str(self.suite), *places, *more],
            cwd=ROOT, env={**os.environ, _MARK: self.mark, "OMP_NUM_THREADS": "1", **surroundings},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def run(self, *more: str, command: str = "run", **surroundings: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        process = self.start(*more, command=command, **surroundings)
        said, _ = process.communicate(timeout=280)
        return process.returncode, said

    @property
    def store(self) -> Store:
        return Store(self.out)

    def processes(self) -> list[psutil.Process]:
        """Living processes that were started from here, whoever their parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == self.mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def results(self) -> dict[str, Result]:
        """All that is stored, every file readable."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return {result.key: result for result in self.store.results()}

    def outcome(self) -> dict[str, dict[str, Any]]:
        """By key, everything that must not depend on how a run came about: figures, and the bytes of the artifact."""
        return {key: timeless(result) | self.digests(key) for key, result in self.results().items()}

    def digests(self, key: str) -> dict[str, str]:
        folder = self.store.directory(key)
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")}

    def stored_files(self) -> dict[str, tuple[int, int]]:
        """Of each stored result: the file's number and when it was changed."""
        keys = self.store.keys()
        states = {key: (self.store.directory(key) / "result.json").stat() for key in keys}
        return {key: (state.st_ino, state.st_mtime_ns) for key, state in states.items()}


def timeless(result: Result) -> dict[str, Any]:
    """A result without what the clock and the machine decide."""
    data = result.model_dump(mode="json", exclude={"started", "seconds", "training"})
    for epoch in data["history"]:
        epoch.pop("seconds")
    training = result.training
    return data | {"samples": training.samples if training else 0, "epochs": training.epochs if training else 0}


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)


def leftovers(out: Path) -> list[str]:
    """Files that only a process at work may have."""
    wanted: Mapping[str, Callable[[Path], bool]] = {
        "runs": lambda path: path.name.startswith("."),
        "checkpoints": lambda path: True,
    }
    return [str(path) for name, bad in wanted.items() for path in (out / name).glob("*") if bad(path)]
