"""What is the same for every run of one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sharkbench.results.store import Store


@dataclass(frozen=True)
class Job:
    """Where results go, and how runs are executed.

    Attributes:
        invocation: names this call; it is in the environment of every run that the call has done.
        execute: ``module:function``, called like :func:`sharkbench.runner.execute.execute`.
        measure: ``module:function``, called like :func:`sharkbench.runner.execute.measure`.
        cache_dir: of prepared data; the data room's own unless given.
        jobs: runs at a time.
        retries: how often a run is done again that was ended from outside.
    """

    store: Store
    invocation: str
    execute: str
    measure: str
    cache_dir: Path | None
    jobs: int
    retries: int = 0
