"""The stand-in of :mod:`tests.runner.fakes`, which says what it ran on, and by which code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sharkbench.records import Result
from sharkbench.store import CODE, ENVIRONMENT
from sharkbench.suite.run import RunSpec, present_code
from tests.runner import fakes

ABOUT = {
    "sharkbench": "0", "git_revision": "a" * 40, "git_dirty": False, "python": "3", "packages": {"torch": "2"},
    "platform": "p", "cpu": "c", "cores": 1, "memory_bytes": 1, "gpus": [], "threads": 1, "kernels": {},
    "invocation": "i",
}  # fmt: skip


def execute(spec: RunSpec, directory: Path, **arguments: Any) -> Result:
    (directory / ENVIRONMENT).write_text(json.dumps(ABOUT))
    (directory / CODE).write_text(json.dumps(present_code().closure(spec.roots)))
    return fakes.execute(spec, directory, **arguments)
