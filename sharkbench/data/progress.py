"""Progress bars for work that takes more than a moment; on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds before a bar appears."""


@contextmanager
def bars(title: str, wanted: bool = True) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """Yields ``stage(name)``, which returns ``report(done)`` with ``done`` from 0 to 1. Writes to stderr."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield lambda name: lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    display = Progress(console=Console(stderr=True), transient=True)
    begun = time.monotonic()
    shown = False

    def stage(name: str) -> Callable[[float], None]:
        task = display.add_task(f"{title}: {name}", total=1.0)

        def report(done: float) -> None:
            nonlocal shown
            if not shown and time.monotonic() - begun > PATIENCE:
                display.start()
                shown = True
            display.update(task, completed=done)

        return report

    try:
        yield stage
    finally:
        if shown:
            display.stop()
