"""Which code looks rows up: the compiled kernels where they were built, plain torch otherwise."""

from __future__ import annotations


def in_use() -> dict[str, str]:
    """Format kind to the kernel that serves it here."""
    from sharkbench.formats.registry import formats

    return dict.fromkeys(formats(), "torch")
