"""The options that all runs of one call share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sharkbench.results.store import Store


@dataclass(frozen=True)
class Job:
    """Output location and execution of runs.

    Attributes:
        invocation: ID of this call; part of the environment of every run that the call executes.
        execute: ``module:function``, called like :func:`sharkbench.runner.execute.execute`.
        measure: ``module:function``, called like :func:`sharkbench.runner.execute.measure`.
        cache_dir: cache of prepared data; by default the user's cache.
        jobs: number of concurrent runs.
        retries: number of retries of a run that was killed from outside.
    """

    store: Store
    invocation: str
    execute: str
    measure: str
    cache_dir: Path | None
    jobs: int
    retries: int = 0
