"""``list`` and ``info``: the available plug-ins and suites, and the budgets that a method can reach."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from sharkbench.cli.console import table
from sharkbench.cli.guard import guarded
from sharkbench.cli.options import MethodName

if TYPE_CHECKING:
    from sharkbench.contract.method import Method
    from sharkbench.formats.shape import TableShape

listing = typer.Typer(help="List methods, datasets, backbones, tasks, formats or suites.", no_args_is_help=True)


@listing.command()
@guarded
def methods() -> None:
    """List the methods that can be imported."""
    from sharkbench.contract import registry

    shape, rows = _reference_table(), []
    for name, method in registry.available().items():
        rows.append(
            (
                name,
                method.family,
                re.sub(r",? *((arXiv|doi):[^ ,]+|\(.*\))", "", method.paper),
                method.year or "",
                _start(method),
                "smaller" if method.saves_training_memory else "",
                _reach(method, shape),
                method.title,
            )
        )
    columns = ("method", "family", "paper", "year", "starts from", "training memory", "budgets", "what it is")
    table(columns, rows)
    print(f"\nbudgets: fractions of the fp32 bytes of {_described(shape)}; other tables differ.")


@listing.command()
@guarded
def datasets() -> None:
    """List the data sources, by the name that 'source' of a data set takes."""
    from sharkbench.data.spec import SOURCES

    table(("source", "what it is"), [(name, _first_sentence(kind)) for name, kind in SOURCES.available().items()])


@listing.command()
@guarded
def backbones() -> None:
    """List the backbones: models on top of the embedding vectors."""
    from sharkbench.backbones import BACKBONES

    table(("backbone", "what it is"), [(name, _first_sentence(kind)) for name, kind in BACKBONES.available().items()])


@listing.command()
@guarded
def tasks() -> None:
    """List the tasks: what is predicted and how it is evaluated."""
    from sharkbench.tasks import registry

    rows = []
    for name, task in registry.available().items():
        metrics = [f"{metric.name}{' (primary)' * metric.primary}" for metric in task.metrics]
        rows.append((name, task.labels, ", ".join(metrics), _first_sentence(task)))
    table(("task", "labels", "metrics", "what it is"), rows)


@listing.command()
@guarded
def formats() -> None:
    """List the formats of packed rows, and the lookup kernel of each on this machine."""
    from sharkbench.formats.in_use import kernels_in_use
    from sharkbench.formats.registry import formats as known

    kernels = kernels_in_use()
    table(("format", "kernel", "what it is"), [(k, kernels.get(k, ""), _first_sentence(f)) for k, f in known().items()])


@listing.command()
@guarded
def suites() -> None:
    """List the suites that come with the package."""
    from sharkbench.suite.load import built_in, load

    rows = []
    for name in built_in():
        suite = load(name)
        rows.append((name, suite.description))
    table(("suite", "what it is"), rows)


def info(name: MethodName) -> None:
    """Describe a method, its settings and the sizes that it reaches."""
    from sharkbench.contract import registry

    method = registry.get(name)
    print(f"{name}: {method.title}")
    print(f"{method.family}; {method.paper}")
    print(f"\n{inspect.cleandoc(method.__doc__ or '')}\n")
    fields = [(k, f) for k, f in method.model_fields.items() if k != "name"]
    if fields:
        rows = [(k, _type(f.annotation), _default(f), " ".join((f.description or "").split())) for k, f in fields]
        table(("setting", "type", "default", "what it is"), rows)
        print()
    if any(f.is_required() for _, f in fields):
        print("It has settings without a default, so what a budget becomes depends on them.")
        return
    default = method(name=name)
    if not default.budgeted:
        print("It takes no budget: its settings decide its size.")
        return
    _print_budgets(default)


_FRACTIONS = (0.5, 0.25, 0.1, 0.05, 0.01, 0.001)


def _start(method: type[Method]) -> str:
    """What the method starts from with its default settings."""
    from sharkbench.contract import registry

    if not registry.has_defaults(method):
        return "?"
    return "model" if method(name=method.model_fields["name"].default).takes == "model" else "scratch"


def _reach(method: type[Method], shape: TableShape) -> str:
    """The smallest of several budgets that the method reaches with its default settings."""
    from sharkbench.contract import registry
    from sharkbench.errors import Infeasible

    if not registry.has_defaults(method):
        return "?"
    default = method(name=method.model_fields["name"].default)
    if not default.budgeted:
        return "fixed"
    reached = []
    for fraction in _FRACTIONS:
        with suppress(Infeasible):
            default.size(int(fraction * shape.fp32_bytes), shape)
            reached.append(fraction)
    return f"to {min(reached):g}" if reached else f"above {max(_FRACTIONS):g}"


def _described(shape: TableShape) -> str:
    shown = ", ".join(f"{f.cardinality:,}" for f in shape.schema.fields)
    return f"a table of fields with {shown} rows and {shape.width} numbers per row"


def _print_budgets(method: Method) -> None:
    from sharkbench.errors import Infeasible

    shape = _reference_table()
    full = shape.fp32_bytes
    rows = []
    for fraction in _FRACTIONS:
        budget = int(fraction * full)
        try:
            settled = method.settled(method.size(budget, shape))
            changes = {k: v for k, v in settled.items() if v != getattr(method, k)}
            becomes = ", ".join(f"{k}: {v}" for k, v in changes.items()) or "the same settings"
        except Infeasible as reason:
            becomes = f"infeasible: {reason}"
        rows.append((f"{fraction:g}", f"{budget:,}", becomes))
    print(f"On {_described(shape)} ({full:,} bytes):")
    table(("budget", "bytes", "becomes"), rows, right=("bytes",))


def _reference_table() -> TableShape:
    """A table shape typical of CTR data: fields from small to large with Zipf-distributed ids."""
    import numpy as np

    from sharkbench.data.schema import Field, Schema
    from sharkbench.formats.shape import TableShape

    sizes = (1_000_000, 100_000, 10_000, 1_000, 100, 10)
    counts = [1 + (10_000_000 / (np.arange(1, n + 1) * np.log(n + 1))).astype(np.int64) for n in sizes]
    fields = tuple(Field(f"c{i}", n) for i, n in enumerate(sizes, 1))
    return TableShape(Schema(fields, labels=("click",), frequencies=np.concatenate(counts)), dimension=16)


def _first_sentence(kind: Any) -> str:
    text = " ".join((kind.__doc__ or "").split()).replace("``", "")
    return text.split(". ")[0].rstrip(".")


def _type(annotation: Any) -> str:
    text = inspect.formatannotation(annotation)
    return text.replace("typing.", "").removeprefix("Literal[").removesuffix("]") if "Literal[" in text else text


def _default(field: Any) -> str:
    return "required" if field.is_required() else str(field.get_default(call_default_factory=True))
