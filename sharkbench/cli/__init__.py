"""The command line: one module per group of commands. Commands import lazily, so that ``--help`` is quick."""

from __future__ import annotations

import os
import sys
import warnings


def main() -> None:
    """Entry point of ``sharkbench``."""
    _open_what_is_closed()
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    from sharkbench.cli.app import app

    app()


def _open_what_is_closed() -> None:
    """Open closed standard streams (``2>&-``) on the null device. Otherwise the next file to be opened would take their
    descriptor and receive the printed output."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) != number:
                continue
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
