"""Write the tables of these pages that are made from the code or from committed results. With ``--check``: only say
whether they are current.

A table stands between ``<!-- NAME: generated -->`` and ``<!-- end -->`` in its page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import claims_tables
import comparison_tables
import layers

from sharkbench.contract import registry
from sharkbench.leaderboard.columns import Column, leaderboard_columns
from sharkbench.leaderboard.run_columns import run_columns
from sharkbench.tasks.ctr import Ctr

HERE = Path(__file__).resolve().parent


def methods() -> str:
    rows = []
    for name, method in registry.available().items():
        paper = "-" if method.paper == "-" else method.paper
        default = method(name=name)
        start = "the full-precision model" if default.takes == "model" else "scratch"
        training = "yes" if method.saves_training_memory else "no"
        place = f"{name}.py" if (HERE.parent / "methods" / f"{name}.py").exists() else f"{name}/__init__.py"
        source = f"[`{name}`](../methods/{place})"
        rows.append((source, method.title, method.family, paper, start, training))
    return table(("method", "what it is", "family", "paper", "starts from", "small in training too"), rows)


def unsharded() -> str:
    rows = [(f"`{name}`", m.unsharded) for name, m in registry.available().items() if m.unsharded]
    return table(("method", "why each process holds all of it"), rows)


def rooms() -> str:
    def link(room: str) -> str:
        source = layers.source(room)
        return f"[`{room}`](../{source.parent if source.name == '__init__.py' else source})"

    rows = ((str(i), link(r), layers.described(r)) for i, line in enumerate(layers.LAYERS, 1) for r in line)
    order = table(("layer", "room", "what it holds"), rows)
    return "\n\n".join(
        [order, *(f"One import points up, from `{low}` to `{up}`: {why}." for (low, up), why in layers.UPWARD.items())]
    )


def columns(of: Sequence[Column]) -> Callable[[], str]:  # type: ignore[type-arg]
    return lambda: table(("column", "meaning"), ((f"`{column.name}`", column.meaning) for column in of))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def claims(made: Callable[[], claims_tables.Table]) -> Callable[[], str]:
    return lambda: table(*made())


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("methods.md", "methods"): methods,
    ("architecture.md", "rooms"): rooms,
    ("scale.md", "unsharded"): unsharded,
    ("leaderboard.md", "leaderboard.csv"): columns(leaderboard_columns({"ctr": Ctr.metrics})),
    ("leaderboard.md", "runs.csv"): columns(run_columns({"ctr": Ctr.metrics})),
    ("claims.md", "fields"): claims(partial(claims_tables.differences, "f_permutation")),
    ("claims.md", "fields per byte"): claims(partial(claims_tables.differences, "f_permutation per byte")),
    ("claims.md", "cost of fields"): claims(claims_tables.selections),
    ("claims.md", "agreement"): claims(
        partial(
            claims_tables.figures, spearman_loss="Spearman, 0.8 asked", scoring_seconds="cost of scoring, 0.1 asked"
        )
    ),
    ("claims.md", "tiers"): claims(partial(claims_tables.differences, "f_quantization")),
    ("claims.md", "shark"): claims(partial(claims_tables.differences, "shark", "shark searched")),
    ("comparison.md", "dcnv2"): claims(partial(comparison_tables.falls, "methods", "dcnv2", timed=True)),
    ("comparison.md", "deepfm"): claims(partial(comparison_tables.falls, "methods", "deepfm", timed=False)),
    ("comparison.md", "dnn"): claims(partial(comparison_tables.falls, "methods_synthetic", "dnn", timed=True)),
    ("comparison.md", "learning rates"): claims(partial(comparison_tables.rates, "learning_rates")),
    ("claims.md", "queries"): claims(
        partial(claims_tables.figures, model_ratio_fp32="the data's own size", large_model_ratio_fp32="10 million rows")
    ),
}


def with_table(text: str, name: str, made: str) -> str:
    """``text`` with ``made`` between the marks of ``name``.

    Raises:
        ValueError: the marks are not there exactly once.
    """
    start, end = f"<!-- {name}: generated -->", "<!-- end -->"
    new, count = re.subn(f"({re.escape(start)}\n).*?({end})", lambda m: f"{m[1]}{made}\n{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"'{start}' with '{end}' after it must stand once, it stands {count} times")
    return new


def main(check: bool) -> None:
    stale = []
    for (page, name), make in TABLES.items():
        path = HERE / page
        text = path.read_text(encoding="utf-8")
        new = with_table(text, name, make())
        if new != text and check:
            stale.append(page)
        elif new != text:
            path.write_text(new, encoding="utf-8")
            print(f"{page}: table '{name}' renewed")
    if stale:
        sys.exit(f"not current: {', '.join(dict.fromkeys(stale))}; run 'make docs'")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
