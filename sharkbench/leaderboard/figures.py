"""Numbers as people read them."""

from __future__ import annotations


def number(value: float | None, form: str) -> str:
    """``value`` in a format, empty for ``None``."""
    return "" if value is None else format(value, form)


def size(nbytes: float | None) -> str:
    """``1.3 MB``; empty for ``None``."""
    if nbytes is None:
        return ""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= worth:
            return f"{nbytes / worth:.1f} {unit}"
    return f"{nbytes:.0f} B"


def times(ratio: float | None) -> str:
    """``1.7x``, ``23x``; empty for ``None``."""
    return "" if ratio is None else f"{ratio:.1f}x" if ratio < 10 else f"{ratio:.0f}x"


def duration(seconds: float | None) -> str:
    """``42.0s``, ``12min``, ``2.5h``; empty for ``None``."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}min" if seconds < 6000 else f"{seconds / 3600:.1f}h"


def percent(ratio: float | None) -> str:
    """``31%``, ``3.1%``, ``0.31%``: two digits that count; empty for ``None``."""
    if ratio is None:
        return ""
    digits = 0 if ratio >= 0.0995 else 1 if ratio >= 0.00995 else 2
    return f"{ratio:.{digits}%}"


def p_value(p: float | None) -> str:
    """``0.031``, ``<0.001``; empty for ``None``."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
