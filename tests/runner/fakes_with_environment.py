"""The stand-in of :mod:`tests.runner.fakes`, which says what it ran on, and by which code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sharkbench.records import Result
from sharkbench.store import CODE, ENVIRONMENT
from sharkbench.suite.run import RunSpec, present_code
from tests.runner import fakes


def execute(spec: RunSpec, directory: Path, **arguments: Any) -> Result:
    from tests.runner.test_verify import ABOUT

    (directory / ENVIRONMENT).write_text(json.dumps(ABOUT))
    (directory / CODE).write_text(json.dumps(present_code().closure(spec.roots)))
    return fakes.execute(spec, directory, **arguments)
