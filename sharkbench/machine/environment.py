"""The environment of a run: code revision, package versions, hardware."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

import sharkbench
from sharkbench.results.records import Environment

PACKAGES = (
    "torch", "lightning", "torchmetrics", "numpy", "scipy", "datasets", "pyarrow", "polars", "pydantic", "safetensors",
    "mlflow", "optuna",
)  # fmt: skip
"""Packages that a result may depend on."""


def environment(*, threads: int, kernels: Mapping[str, str], invocation: str) -> Environment:
    """The environment of this process.

    Args:
        threads: CPU threads that the run uses.
        kernels: the implementation in use of each kernel.
        invocation: ID shared by the runs of one ``sharkbench run``.
    """
    revision, dirty = git_state()
    return Environment(
        sharkbench=sharkbench.__version__,
        git_revision=revision,
        git_dirty=dirty,
        python=platform.python_version(),
        packages=package_versions(),
        platform=platform.platform(),
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpu_names(),
        threads=threads,
        kernels=dict(kernels),
        invocation=invocation,
    )


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Revision of the git checkout of this code and its methods, and whether tracked files differ from it.

    ``(None, None)`` if the code was installed, even inside another checkout.
    """
    package = Path(sharkbench.__file__).parent
    spec = importlib.util.find_spec("sharkbench.methods")
    folders = [str(package), *((spec.submodule_search_locations if spec else None) or [])]
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    revision, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", *folders)
    return (revision.strip() if revision else None), (bool(changes) if changes is not None else None)


def package_versions() -> dict[str, str]:
    """Versions of those :data:`PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def cpu_name() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(named, platform.processor() or platform.machine())


def huge_pages() -> str:
    """The system's setting for pages of 2 MiB: ``always``, ``madvise`` (on request) or ``never``; ``""`` if unknown."""
    try:
        said = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="utf-8")
    except OSError:
        return ""
    return said.partition("[")[2].partition("]")[0]


def gpu_names() -> list[str]:
    """Names of the GPUs that this process may use."""
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
