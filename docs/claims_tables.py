"""The tables of claims.md, from what ``sharkbench claims`` and the leaderboard wrote."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "results" / "shark_claims"
STYLES = {"held": "**{}**", "not held": "*{}*", "not resolvable": "{}"}
Row = dict[str, str]
Table = tuple[list[str], list[list[str]]]


def differences(*methods: str) -> Table:
    """AUC of ``methods`` minus that of every rival they have a claim against, in units of 0.0001."""
    found = [row for row in _read("claims.csv") if row["method"] in methods and row["figure"] == "auc"]
    one_budget = len({row["budget"] for row in found}) == 1

    def name(row: Row) -> tuple[str, ...]:
        own = f"`{row['method']}` minus " if len(methods) > 1 else ""
        at = () if one_budget else (row["budget"],)
        return (*at, f"{own}`{row['against']}`", _bytes(row))

    first = [*(() if one_budget else ("budget",)), "" if len(methods) > 1 else "minus that of", "its bytes"]
    return _spread(found, first, name, units)


def figures(**names: str) -> Table:
    """Figures that labels share, each by its last name and what to call it."""
    found = [row for row in _read("claims.csv") if row["figure"].rsplit(".", 1)[-1] in names]
    return _spread(found, [""], lambda row: (names[row["figure"].rsplit(".", 1)[-1]],), lambda v: f"{v:.2f}")


def selections() -> Table:
    """Bytes and training time of every method that the claims about the selection of fields name."""
    claims = [row for row in _read("claims.csv") if row["method"].startswith("f_permutation")]
    methods = dict.fromkeys([*(row["method"] for row in claims), *(row["against"] for row in claims if row["against"])])
    cells = {(row["method"], row["dataset"], row["backbone"]): row for row in _read("leaderboard.csv") if row["budget"]}
    places = dict.fromkeys((row["dataset"], row["backbone"]) for row in claims)
    lines = []
    for method in methods:
        own = [cells[method, *place] for place in places]
        bytes_and_time = [f"{float(r['bytes_ratio']):.1%}, {float(r['train_seconds']):.0f} s" for r in own]
        lines.append([f"`{method}`", *bytes_and_time])
    return ["", *map(", ".join, places)], lines


def _spread(
    found: Iterable[Row], first: list[str], name: Callable[[Row], tuple[str, ...]], number: Callable[[float], str]
) -> Table:
    """A line per name, a column per place; of several claims about one pair the first is shown."""
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in found:
        place = ", ".join(filter(None, (row["dataset"], row["backbone"], row["label"])))
        lines.setdefault(name(row), {}).setdefault(place, _cell(row, number))
    places = list(dict.fromkeys(place for cells in lines.values() for place in cells))
    return [*first, *places], [[*names, *(cells.get(place, "") for place in places)] for names, cells in lines.items()]


def _cell(row: Row, number: Callable[[float], str]) -> str:
    if not row["low"]:
        return number(float(row["value"])) if row["value"] else "-"
    value, low, high = (number(float(row[name])) for name in ("value", "low", "high"))
    return f"{STYLES[row['verdict']].format(value)} ({low} to {high})"


def units(value: float) -> str:
    rounded = round(value * 1e4)
    return f"{rounded:+d}".replace("-", "\N{MINUS SIGN}") if rounded else "0"


def _bytes(row: Row) -> str:
    """Of the rival, over all places."""
    ratios = [
        float(other["bytes_ratio"])
        for other in _read("leaderboard.csv")
        if other["method"] == row["against"] and other["budget"] in (row["budget"], "")
    ]
    low, high = f"{min(ratios, default=0):.1%}", f"{max(ratios, default=0):.1%}"
    return low if low == high else f"{low} to {high}"


@cache
def _read(name: str) -> list[Row]:
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
