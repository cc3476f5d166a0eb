"""The command line: a module per group of commands, which import what they need when called, so ``--help`` is quick."""

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
    """Standard streams that were closed (``2>&-``) lead nowhere: the next file to be opened would else be in their
    place, and get what is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) != number:
                continue
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
