"""Turns the errors of a command into one line and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from sharkbench.errors import SharkbenchError, printable
from sharkbench.files.durable import no_room

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
DEBUG = "SHARKBENCH_DEBUG"

P = ParamSpec("P")
R = TypeVar("R")


def tell(error: SharkbenchError) -> None:
    """Print the message of an error, with any characters that it quotes."""
    print("\n".join(printable(line) for line in str(error).split("\n")), file=sys.stderr)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap ``command``: user errors print one line (exit code 2), Ctrl-C exits with 130, bugs are named as such (1)."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SharkbenchError as error:
            tell(error)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if no_room(error):
                name = getattr(error, "filename", None)
                said = getattr(error, "strerror", None) or " ".join(str(error).split())
                print(printable(f"{f'{name}: ' if name else ''}{said}; make room, and do it again"), file=sys.stderr)
                raise typer.Exit(FAILED) from None
            if os.environ.get(DEBUG):
                raise
            said = " ".join(str(error).split())
            print(f"{type(error).__name__}: {said} (this is a bug; {DEBUG}=1 shows where)", file=sys.stderr)
            raise typer.Exit(FAILED) from None

    return call
