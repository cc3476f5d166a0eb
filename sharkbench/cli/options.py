"""Arguments and options that several commands share, and their shell completion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sharkbench.suite.model import Suite


def complete_suite(incomplete: str) -> list[str]:
    """Complete built-in suites and the YAML files of the folder typed so far."""
    from sharkbench.suite.load import built_in

    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    files = [
        str(p) + ("/" if p.is_dir() else "") for p in folder.glob("*") if p.is_dir() or p.suffix in (".yaml", ".yml")
    ]
    return [word for word in [*built_in(), *sorted(files)] if word.startswith(incomplete)]


def complete_method(incomplete: str) -> list[str]:
    from sharkbench.contract import registry

    return [name for name in registry.names() if name.startswith(incomplete)]


SuiteName = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A suite's file, or the name of a built-in one.", autocompletion=complete_suite
    ),
]
MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="A method's name.", autocompletion=complete_method)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, like train.epochs=1. Repeatable."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=PATTERN", help="Only these runs, like 'method=qr*' (dataset, backbone, budget, seed). Repeatable."
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Only this part of the runs, like 2/4 on the second of four machines; 'merge' joins them."
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where all goes [default: results/SUITE].")
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Of prepared data [default: $SHARKBENCH_CACHE, else ~/.cache/sharkbench]."),
]


def opened(name: str, settings: list[str] | None, out: Path | None) -> tuple[Suite, Path]:
    """Load the suite of a command; returns it with its output directory."""
    from sharkbench.api import output_directory
    from sharkbench.suite.load import load

    suite = load(name, settings or ())
    return suite, output_directory(suite, out)
