"""The rooms of the package from top to bottom. ``tests/test_architecture.py`` holds the imports to this order, and
``docs/architecture.md`` shows it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A room or module imports only what stands below it, or on its own line.
LAYERS = [
    line.split()
    for line in """
    cli
    api
    search
    runner
    tracking
    leaderboard
    machine
    suite
    methods
    field_selection
    contract
    measure
    training
    model tables
    backbones
    tasks
    formats
    results
    data
    keys
    plugins
    files
    errors seeds text
""".strip().splitlines()
]

# The imports that point up, each with its reason.
UPWARD = {
    ("results", "suite"): "the store reads the resolved spec that the runner wrote, and imports its model when asked"
}


def source(room: str) -> Path:
    """The file whose docstring describes ``room``, relative to the repository."""
    folder = Path("methods") if room == "methods" else Path("sharkbench", room)
    return folder / "__init__.py" if (ROOT / folder).is_dir() else folder.with_suffix(".py")


def described(room: str) -> str:
    """The first line of that docstring.

    Raises:
        ValueError: there is none.
    """
    text = ast.get_docstring(ast.parse((ROOT / source(room)).read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{source(room)} needs a docstring that says what the room holds")
    return text.splitlines()[0].replace("``", "`")
