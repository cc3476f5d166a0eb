"""Checks whether this installation and this machine can run a suite."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sharkbench.files.durable import scratch_folder

LOW_DISK_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """Result of one check. ``note`` is a limitation, ``bad`` prevents running suites."""

    state: Literal["ok", "note", "bad"]
    what: str
    text: str


def examine(out: Path = Path("results")) -> Iterator[Finding]:
    """Yield the findings one by one, cheap checks first.

    Args:
        out: output directory for results.
    """
    from sharkbench.data.prepare import default_cache_dir

    yield Finding("ok", "python", f"{sys.version.split()[0]} at {sys.executable}")
    yield from _packages()
    yield _methods()
    yield from _machine()
    yield _kernels()
    yield _huge_pages()
    yield from _gpu_kernels()
    yield _folder("cache", default_cache_dir())
    yield _folder("results", out.absolute())
    yield _database(out.absolute())


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in requires("sharkbench") or ()]
    except PackageNotFoundError:
        yield Finding("bad", "sharkbench", "is not installed; run 'pip install .'")
        return
    yield Finding("ok", "sharkbench", version("sharkbench"))
    for requirement in needed:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding("bad", requirement.name, f"is missing; run 'pip install \"{requirement}\"'")
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        wish = "" if fits else f", but {requirement.specifier} is needed; run 'pip install \"{requirement}\"'"
        yield Finding("ok" if fits else "bad", requirement.name, found + wish)


def _methods() -> Finding:
    import warnings

    from sharkbench.contract import registry

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = registry.available()
    broken = [str(warning.message) for warning in caught]
    return Finding("note" if broken else "ok", "methods", "; ".join([f"{len(found)} found", *broken]))


def _machine() -> Iterator[Finding]:
    import psutil
    import torch

    from sharkbench.machine.environment import cpu_name, gpu_names

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0))
    yield Finding("ok", "cpu", f"{cpu_name()}, {cores} cores, torch uses {torch.get_num_threads()} threads")
    free = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    yield Finding("ok" if memory.available > 10**9 else "note", "memory", free)
    gpus = gpu_names()
    yield Finding(
        "ok" if gpus else "note", "gpu", ", ".join(gpus) if gpus else "none that torch can use; runs use the CPU"
    )


def _kernels() -> Finding:
    from sharkbench.formats.in_use import kernels_in_use

    kernels = kernels_in_use()
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    kinds = sorted(set(kernels.values()))
    compiled = any(kind != "torch" for kind in kinds)
    used = ", ".join(f"{kind} ({sum(value == kind for value in kernels.values())} formats)" for kind in kinds)
    return Finding(
        "ok" if compiled or compiler else "note", "kernels", f"{used}; C compiler: {compiler or 'none is found'}"
    )


def _huge_pages() -> Finding:
    """Check for huge pages: the compiled kernels request pages of 2 MiB for large tables."""
    from sharkbench.machine.environment import huge_pages

    said = huge_pages()
    if said in ("always", "madvise"):
        return Finding("ok", "huge pages", f"large tables may have them ({said})")
    reason = "this system does not say that it has them"
    if said:
        wish = "'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root allows them"
        reason = f"the system says '{said}'; {wish}"
    return Finding("note", "huge pages", f"none for tables, so lookups in large ones may be slower: {reason}")


def _gpu_kernels() -> Iterator[Finding]:
    from sharkbench.machine.environment import gpu_names

    if not gpu_names():
        return
    from sharkbench.formats import gpu
    from sharkbench.formats.in_use import kernels_in_use

    reason = gpu.why_not()
    if reason is None:
        served = sum(name != "torch" for name in kernels_in_use("cuda").values())
        yield Finding("ok", "gpu kernels", f"triton ({served} formats), for tables that are moved to the GPU")
    else:
        yield Finding("note", "gpu kernels", f"{reason}; tables on the GPU are looked up in plain PyTorch")


def _folder(what: str, folder: Path) -> Finding:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("bad", what, f"{folder} cannot be written to")
    free = shutil.disk_usage(there).free
    low = free < LOW_DISK_BYTES
    return Finding("note" if low else "ok", what, f"{folder}, {free / 1e9:.1f} GB free" + (": little" if low else ""))


def _database(folder: Path) -> Finding:
    """Check SQLite: network file systems may refuse its locks, and then MLflow records fail."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    try:
        with scratch_folder(there) as scratch:
            connection = sqlite3.connect(scratch / "probe.db")
            with connection:
                connection.execute("create table probe (x)")
            connection.close()
    except (OSError, sqlite3.Error) as error:
        return Finding("bad", "mlflow store", f"SQLite does not work in {there} ({error}); set tracking.uri or --out")
    return Finding("ok", "mlflow store", f"SQLite works in {there}")
