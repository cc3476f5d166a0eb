"""The numbers behind the plots: plain records by section."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from sharkbench.leaderboard.aggregate import asked_ratio
from sharkbench.leaderboard.cells import Cell
from sharkbench.leaderboard.figures import size
from sharkbench.leaderboard.report.charts import OTHER
from sharkbench.leaderboard.standings import Section, Standing

Record = dict[str, Any]
NAMED_FIELDS = 7


def section_title(section: Section, *, named: bool = False) -> str:
    """``named``: with its task, where there are several."""
    label = f", {section.label}" if section.label else ""
    task = f", {section.task}" if named else ""
    return f"{section.dataset} ({section.split} split), {section.backbone}{label}{task}"


def by_section(standings: Iterable[Standing]) -> dict[Section, list[Standing]]:
    """In the order of the leaderboard, which keeps sections together."""
    return {section: list(group) for section, group in groupby(standings, key=lambda standing: standing.section)}


def full_value(members: Iterable[Standing]) -> float | None:
    """Mean of the primary metric of the full-precision table of a section, as it is shown."""
    return next((value for s in members if s.cell.is_reference and (value := _value(s.cell)) is not None), None)


def points(members: Sequence[Standing]) -> list[Record]:
    """A record per cell; those on the front are better than everything with as few bytes or fewer."""
    full, score = full_value(members), members[0].cell.metric.score
    records = [_point(standing, members, full) for standing in members]
    best = -math.inf
    reached = [r for r in records if r["value"] is not None and r["bytes_ratio"] is not None]
    for record in sorted(reached, key=lambda r: (r["bytes_ratio"], -score(r["value"]))):
        record["front"] = score(record["value"]) > best
        best = max(best, score(record["value"]))
    return records


def _point(standing: Standing, members: Sequence[Standing], full: float | None) -> Record:
    cell, difference = standing.cell, standing.difference
    interval = difference.interval if difference else None
    measured = cell.mean_of(lambda result: result.bytes_ratio)
    change, factor = cell.metric.change, cell.metric.factor
    shown = change(difference.mean) if difference else ""
    if interval:
        shown += f" [{change(interval.low)}, {change(interval.high)}]"
    return {
        "method": cell.name.method,
        "budget": cell.name.budget,
        "status": cell.status,
        "bytes_ratio": _round(measured if measured is not None else asked_ratio(cell, [s.cell for s in members])),
        "size": size(cell.mean_of(lambda result: result.bytes)),
        "value": _round(_value(cell)),
        "low": _round(full + interval.low * factor if full is not None and interval else None),
        "high": _round(full + interval.high * factor if full is not None and interval else None),
        "difference": shown,
        "lookups": _round(cell.lookup_ratio),
        "front": False,
    }


def places(members: Sequence[Standing]) -> tuple[list[Record], list[str]]:
    """A record per cell that is ok, with its training cost and its ``bytes`` by field, and the names of those fields.

    Where there are many fields the largest are named and the rest is summed up.
    """
    cells = [standing.cell for standing in members if standing.cell.ok]
    totals: dict[str, int] = {}
    for cell in cells:
        for field, nbytes in cell.ok[0].result.bytes_by_field.items():
            totals[field] = max(totals.get(field, 0), nbytes)
    largest = sorted(totals, key=lambda field: -totals[field])
    named = largest if len(largest) <= NAMED_FIELDS + 1 else largest[:NAMED_FIELDS]
    fields = named if len(named) == len(largest) else [*named, OTHER]
    return [_place(cell, named, fields) for cell in cells], fields


def _place(cell: Cell, named: Sequence[str], fields: Sequence[str]) -> Record:
    first = cell.ok[0].result
    spent = [first.bytes_by_field.get(field, 0) for field in named]
    if len(fields) > len(named):
        spent.append(sum(first.bytes_by_field.values()) - sum(spent))
    formats = {kind: size(nbytes) for kind, nbytes in first.bytes_by_format.items()} or dict.fromkeys(first.formats, "")
    return {
        "row": f"{cell.name.method} @ {cell.name.budget}" if cell.name.budget else cell.name.method,
        "seconds": _round(cell.mean_cost(lambda cost: cost.seconds)),
        "peak": _round(cell.mean_cost(lambda cost: cost.peak_memory_bytes)),
        "formats": ", ".join(f"{kind} {nbytes}".strip() for kind, nbytes in formats.items()),
        "bytes": spent if first.bytes_by_field else [],
    }


def _value(cell: Cell) -> float | None:
    return None if cell.value_mean is None else cell.value_mean * cell.metric.factor


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
