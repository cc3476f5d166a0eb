"""The most memory that this process has had resident, and where this checkout lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def peak_bytes() -> int:
    """By the kernel's own mark of this program, which no parent's memory counts into."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
