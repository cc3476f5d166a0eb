"""``new``, ``check``, ``schema``: for those who add a method or write suites."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sharkbench.cli.guard import FAILED
from sharkbench.cli.options import MethodName


def new(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="Its name: small letters, digits and '_'.")],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the file goes.")] = Path("methods"),
) -> None:
    """Write a template of a method that keeps the contract."""
    from sharkbench.contract import registry
    from sharkbench.contract.template import write_template

    print(write_template(name, folder))
    where = "" if name in registry.names() else f"{registry.FOLDERS}={folder} "
    print(f"{where}sharkbench check {name}")


def check(name: MethodName) -> None:
    """Check whether a method keeps the contract."""
    from sharkbench.contract.check import check_method

    failed = 0
    for outcome in check_method(name):
        failed += not outcome.passed
        mark = "ok  " if outcome.passed else "FAIL"
        print(f"{mark}  {outcome.check}" + (f": {outcome.message}" if outcome.message else ""), flush=True)
    if failed:
        print(f"{name} fails {failed} of its checks", file=sys.stderr)
        raise typer.Exit(FAILED)


def schema() -> None:
    """Print the JSON Schema of suites, for editors."""
    from sharkbench.suite.jsonschema import rendered

    print(rendered(), end="")
