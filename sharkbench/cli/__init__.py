"""The command line. Commands import what they need when they are called, so that ``--help`` stays quick."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``sharkbench``."""
    from sharkbench.cli.app import app

    app()
