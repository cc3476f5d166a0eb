"""The schema of a suite's ``executor``: where runs are executed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sharkbench.contract.budget import parse_size
from sharkbench.training.recipe import Recipe


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class LocalExecutor(_Settings):
    """Runs are processes on this machine."""

    name: Literal["local"] = "local"
    jobs: int | None = Field(None, ge=1)
    """Number of concurrent runs; ``--jobs`` overrides it. By default as many as the cores allow with the recipe's
    threads and processes, and one if there is a GPU."""
    timeout: float | None = Field(None, gt=0)
    """Time limit of a run in seconds; a run that exceeds it is stopped and stored as failed."""
    retries: ClassVar[int] = 0

    def jobs_for(self, recipe: Recipe) -> int:
        """Number of concurrent runs."""
        if self.jobs is not None:
            return self.jobs
        gpu = recipe.accelerator != "cpu" and Path("/dev/nvidia0").exists()
        return 1 if gpu else max(1, len(os.sched_getaffinity(0)) // recipe.cores)


def _address(value: str) -> str:
    if not re.fullmatch(r"auto|local|(ray://)?[\w.-]+:\d+", value):
        raise ValueError(f"must be auto, local, host:port or ray://host:port, got '{value}'")
    return value


def _bytes(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


class RayExecutor(_Settings):
    """Runs are tasks of a Ray cluster whose nodes share the output directory and the cache of prepared data."""

    name: Literal["ray"] = "ray"
    address: Annotated[str, AfterValidator(_address)] = "local"
    """Address of the cluster: ``auto`` for the cluster of this machine, ``host:port`` or ``ray://host:port``, or
    ``local`` for one that is started here and ends with the suite."""
    jobs: int = Field(64, ge=1)
    """Number of runs submitted to Ray at a time; ``--jobs`` overrides it. Ray starts as many as its resources allow."""
    timeout: float | None = Field(None, gt=0)
    """Time limit of a run in seconds from its start by Ray; a run that exceeds it is stopped and stored as failed."""
    retries: int = Field(2, ge=0, le=100)
    """Number of retries of a run whose worker or node was lost. A failure of the method is final."""
    num_cpus: float | None = Field(None, ge=0)
    """CPUs that Ray reserves for a run; by default the recipe's threads."""
    num_gpus: float = Field(0, ge=0)
    """GPUs that Ray reserves for a run; with ``0.25`` four runs share one. With ``0`` a run sees no GPU."""
    memory: Annotated[int | None, Field(gt=0), BeforeValidator(_bytes, json_schema_input_type=int | str | None)] = None
    """Memory that Ray reserves for a run: bytes, or a size like ``8GB``."""
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Custom Ray resources that a run requires, like ``{large_disk: 1}``."""

    def jobs_for(self, recipe: Recipe) -> int:
        """Number of concurrent runs."""
        return self.jobs


def _named(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    return {"name": "local", **value} if isinstance(value, dict) else value


AnyExecutor = Annotated[
    Annotated[LocalExecutor | RayExecutor, Field(discriminator="name")],
    BeforeValidator(_named, json_schema_input_type=Literal["local", "ray"] | LocalExecutor | RayExecutor),
]
