"""Draw the leaderboard of the terminal as an SVG: ``python docs/picture.py results/kuairand docs/leaderboard.svg``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from sharkbench.leaderboard.terminal import WIDTH, print_leaderboard


def picture(out: Path, command: str) -> str:
    """The leaderboard under ``out``, under the command that prints it. Fonts are the reader's own: none are fetched."""
    console = Console(width=WIDTH, record=True, force_terminal=True, file=io.StringIO())
    print_leaderboard(out, console)
    svg = console.export_svg(title=command)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} OUT PICTURE.svg")
    out, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.write_text(picture(out, f"sharkbench leaderboard {out.name}") + "\n", encoding="utf-8")
