"""The C kernels built with an address and an undefined-behaviour sanitizer, for a process of their own.

As a plugin of pytest, ``-p tests.faults.sanitized``, or by :func:`use`, they stand in for the installed ones. The
process is to be started with :func:`surroundings`.

Every plain access to memory is checked, those of vector loads and stores too; what single instructions of AVX-512 read
or write by mask or by gathering is not, nor are stores past the cache.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = (
    *SANITIZERS,
    "-O1",
    "-g",
    "-std=gnu11",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-omit-frame-pointer",
    "-fPIC",
    '-DKERNEL_DIGEST="sanitized"',
    # Inlined into every specialisation, the checks take minutes to compile.
    "-DINLINE=static __attribute__((unused))",
)
_NAME = "sharkbench.formats._kernels"
_BUILT, _VARIANT = "SANITIZED_KERNELS", "SANITIZED_VARIANT"


def missing(folder: Path) -> str | None:
    """What this machine lacks for a build with sanitizers; ``None`` if nothing. Writes to ``folder``."""
    probe = folder / "probe.c"
    probe.write_text("int probe;\n")
    command = ["gcc", *SANITIZERS, "-shared", "-fPIC", str(probe), "-o", str(folder / "probe.so")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "no gcc"
    return "gcc without sanitizers" if done.returncode or runtime() is None else None


def build(folder: Path) -> Path:
    """The extension module, compiled into ``folder``.

    Raises:
        RuntimeError: the sources do not compile.
    """
    include = f"-I{sysconfig.get_paths()['include']}"
    built, objects = folder / "_kernels.so", []
    for source in sorted((ROOT / "sharkbench/formats/csrc").glob("*.c")):
        objects.append(str(folder / f"{source.stem}.o"))
        _compile(*FLAGS, include, "-c", str(source), "-o", objects[-1])
    _compile(*SANITIZERS, "-shared", *objects, "-o", str(built))
    return built


def _compile(*arguments: str) -> None:
    done = subprocess.run(["gcc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the kernels do not compile with sanitizers: {done.stderr[-3000:]}")


def runtime() -> Path | None:
    """The library that has to be loaded before all others."""
    return _library("libasan.so")


def _library(name: str) -> Path | None:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    return path.resolve() if path.is_absolute() and path.exists() else None


def surroundings(built: Path, variant: str) -> dict[str, str]:
    """Environment of a process that uses the kernels in ``built``, those of the instruction set ``variant``."""
    return {
        **os.environ,
        # C++'s own library as well: without it the sanitizer does not find how torch throws.
        "LD_PRELOAD": " ".join(map(str, filter(None, (runtime(), _library("libstdc++.so.6"))))),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:abort_on_error=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
        _BUILT: str(built),
        _VARIANT: variant,
    }


def use() -> None:
    """Have the kernels that :data:`_BUILT` names loaded as the package's own, before it loads them."""
    if "sharkbench.formats.kernels" in sys.modules:
        raise RuntimeError("the installed kernels are loaded already")
    import torch  # noqa: F401  # its OpenMP runtime is looked for

    path = os.environ[_BUILT]
    loader = importlib.machinery.ExtensionFileLoader(_NAME, path)
    spec = importlib.util.spec_from_file_location(_NAME, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[_NAME] = module
    from sharkbench.formats import kernels

    assert kernels.compiled is module
    module.choose(os.environ[_VARIANT])


def pytest_configure() -> None:
    use()
