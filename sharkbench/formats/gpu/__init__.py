"""Which code carries out lookups on a GPU: kernels in Triton where it can be used, plain torch otherwise.

A format that has a kernel describes its lookup as :class:`~sharkbench.formats.gpu.launch.Launch`. Triton is imported
when the first ids lie on a GPU, and only then.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache

from sharkbench.formats.gpu.launch import Launch

OLDEST = 80
"""Lowest compute capability, times ten, of NVIDIA's GPUs that Triton supports."""


@cache
def why_not() -> str | None:
    """``None`` where the kernels can run on the current GPU, else what is missing. Initialises CUDA."""
    try:
        triton = importlib.import_module("triton")
    except ImportError:
        return "triton is not installed (pip install 'sharkbench[gpu]')"
    try:
        # Builds a C extension the first time, as a launch would.
        target = triton.runtime.driver.active.get_current_target()
    except Exception as error:  # a missing driver, compiler or header may raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        return f"triton does not work here: {said[:200]}"
    if target.backend != "cuda" or target.arch < OLDEST:
        return f"not on {target.backend} {target.arch}: the kernels are for NVIDIA GPUs of capability 8.0 and newer"
    return None


@cache
def usable() -> bool:
    """Whether lookups on the current GPU run in Triton; warns once where Triton is installed and does not work."""
    reason = why_not()
    if reason is not None and reason.startswith("triton does not work"):
        warnings.warn(f"{reason}; lookups on the GPU run in plain PyTorch", stacklevel=2)
    return reason is None


def run(launch: Launch) -> None:
    """Queue the kernel on the device that its tensors are on."""
    importlib.import_module("sharkbench.formats.gpu.kernels").run(launch)
