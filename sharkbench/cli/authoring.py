"""``new``, ``check``, ``schema``: commands for authors of methods and suites."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharkbench.cli.guard import FAILED
from sharkbench.cli.options import complete_method
from sharkbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from sharkbench.contract.checking import Outcome


def new(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="Its name: small letters, digits and '_'.")],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the file goes.")] = Path("methods"),
) -> None:
    """Write the template of a method that fulfils the contract."""
    from sharkbench.contract import registry
    from sharkbench.contract.template import write_template

    print(write_template(name, folder))
    where = "" if name in registry.names() else f"{registry.FOLDERS}={folder} "
    print(f"{where}sharkbench check {name}")


def check(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND] NAME",
            help="A method's name; or 'format', 'backbone' or 'source' and the name of one.",
            autocompletion=complete_method,
        ),
    ],
) -> None:
    """Check whether a method, format, backbone or source fulfils its contract."""
    if len(words) > 2:
        raise InputError(f"one name can be checked at a time, got {' '.join(words)}")
    kind, name = ("method", *words)[-2:]
    failed = 0
    for outcome in _checked(kind, name):
        failed += not outcome.passed
        mark = "ok  " if outcome.passed else "FAIL"
        print(f"{mark}  {outcome.check}" + (f": {outcome.message}" if outcome.message else ""), flush=True)
    if failed:
        print(f"{name} fails {failed} of its checks", file=sys.stderr)
        raise typer.Exit(FAILED)


def _checked(kind: str, name: str) -> Iterator[Outcome]:
    match kind:
        case "method":
            from sharkbench.contract.check import check_method

            return check_method(name)
        case "format":
            from sharkbench.contract.format_check import check_format

            return check_format(name)
        case "backbone":
            from sharkbench.contract.backbone_check import check_backbone

            return check_backbone(name)
        case "source":
            from sharkbench.contract.source_check import check_source

            return check_source(name)
    kinds = ("method", "format", "backbone", "source")
    raise InputError(f"unknown kind of plug-in '{kind}'{did_you_mean(kind, kinds)}")


def schema() -> None:
    """Print the JSON Schema of suites, for editors."""
    from sharkbench.suite.jsonschema import rendered

    print(rendered(), end="")
