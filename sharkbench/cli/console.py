"""Output of commands: colours and the terminal's width on a terminal, plain lines of any length elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 240


def console(*, stderr: bool = False) -> Console:
    """The console to print to. Progress goes to ``stderr`` and is dropped once nobody reads it."""
    from rich.console import Console

    class Steady(Console):
        def on_broken_pipe(self) -> None:
            if not self.stderr:
                super().on_broken_pipe()  # ends the program
            self.quiet = True

    stream = sys.stderr if stderr else sys.stdout
    on_terminal = stream is not None and stream.isatty()
    return Steady(stderr=stderr, highlight=False, width=None if on_terminal else _PIPE_WIDTH)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print rows under headings; columns in ``right`` are right-aligned."""
    from rich.table import Table
    from rich.text import Text

    from sharkbench.text import aligned

    rows, to = list(rows), console()
    if not any(isinstance(cell, Text) for row in rows for cell in row):
        texts = [[str(cell) for cell in row] for row in rows]
        numbers = {i for i, heading in enumerate(headings) if heading in right}
        if lines := aligned([headings, *texts], numbers, to.width):
            to.print(Text(lines[0], "dim"), soft_wrap=True)
            to.file.write("".join(f"{line}\n" for line in lines[1:]))
            return
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    to.print(made)


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
