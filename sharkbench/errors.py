"""Errors a user can cause. Each is one sentence that names the place, what is wrong, and what to do.

Whatever is not one of these is a bug and stays loud.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SharkbenchError(Exception):
    """Base of all errors that the command line prints as one line, without a traceback."""


class InputError(SharkbenchError):
    """A suite, an argument or an artifact says something that cannot be meant (exit code 2)."""


class DataError(SharkbenchError):
    """Input data is malformed; the message names file and row."""


class StorageError(SharkbenchError):
    """A disk is full, or cannot be written to; the message names the folder."""


class Infeasible(SharkbenchError):
    """A method cannot reach the budget; the message says why. An outcome of a run, not a crash."""


class Diverged(SharkbenchError):
    """Training produced a loss that is not finite; the message names the epoch and step."""


class ArtifactError(SharkbenchError):
    """A saved artifact is truncated, corrupted or says something untrue about itself."""


_MAX_LENGTH = 500


def printable(line: str) -> str:
    """A line that may quote anything, and any amount of it, such that a terminal or a log can show it."""
    line = _shortened(line)  # it may have megabytes
    return _shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def _shortened(line: str) -> str:
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH // 2]} ... {line[-_MAX_LENGTH // 2 :]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'qr'?"`` where one of ``known`` is close to ``word``, else the choices (or nothing)."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1) or sorted(
        # 'qr_trick' means 'qr', 'f_quant' means 'f_quantization', though most of their letters differ.
        (choice for choice in choices if min(len(word), len(choice)) > 1 and _is_start(word, choice)),
        key=len,
        reverse=True,
    )
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; choose from {', '.join(choices)}" if 0 < len(choices) <= 40 else ""


def _is_start(word: str, choice: str) -> bool:
    return word.startswith(choice) or choice.startswith(word)
