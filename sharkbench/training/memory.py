"""Peak memory of this process."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def forget_peak() -> None:
    """Count the peak from now on, where the system can: what was done before is not the training's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident_bytes() -> int:
    """The most memory that this process has had resident so far, since :func:`forget_peak` where that was called."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux a new process inherits that of the one that started it.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
