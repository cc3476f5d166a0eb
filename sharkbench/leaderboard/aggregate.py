"""One line per method over all data sets, backbones, labels and budgets of a task; failures count as the worst."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sharkbench.leaderboard.cells import Cell
from sharkbench.leaderboard.standings import Section, Standing

LOSSLESS = 0.001
"""Largest relative loss of the primary metric that counts as lossless."""


@dataclass(frozen=True)
class Summary:
    """Aggregates of a method over all its cells. Figures without data are ``None``."""

    method: str
    cells: int
    failed: int
    """Number of cells without any result."""
    mean_rank: float | None
    """Mean rank over the groups that have ranks; methods that share ranks 1 and 2 count 1.5 each, failures are last."""
    ranked: int
    """Number of groups in the mean rank."""
    area: float | None
    """Mean over sections of :func:`area`; ``None`` for a metric without a chance value."""
    smallest: float | None
    """Geometric mean over sections of :func:`smallest`; the full table counts if no cell qualifies."""
    lossless: int
    """Number of sections with a cell that qualifies."""
    sections: int
    """Number of sections with a full-precision result to compare with."""
    lookup_ratio: float | None
    """Geometric mean over cells of lookups per second relative to fp32 in the same measurement."""


def summaries(standings: Sequence[Standing]) -> list[Summary]:
    """Summaries by mean rank, then area, without full precision itself, to which they are relative.

    Args:
        standings: standings of one task.
    """
    sections: dict[Section, list[Standing]] = defaultdict(list)
    for standing in standings:
        sections[standing.section].append(standing)
    ranks = _ranks(standings)
    full = {section: score for section, members in sections.items() if (score := _full(members)) is not None}
    lowest = {section: _lowest(members) for section, members in sections.items()}
    methods: dict[str, list[Standing]] = defaultdict(list)
    for standing in standings:
        if not standing.cell.is_reference:
            methods[standing.cell.name.method].append(standing)
    rows = [_summary(name, own, sections, full, lowest, ranks[name]) for name, own in methods.items()]
    return sorted(rows, key=lambda row: (_last(row.mean_rank), -(row.area or 0), row.method))


def _summary(
    method: str,
    own: Sequence[Standing],
    sections: Mapping[Section, Sequence[Standing]],
    full: Mapping[Section, float],
    lowest: Mapping[Section, float],
    ranks: Sequence[float],
) -> Summary:
    areas, smallests = [], []
    for section in dict.fromkeys(standing.section for standing in own):
        if section in full:
            mine = [standing.cell for standing in own if standing.section == section]
            sizes = [(cell, size) for cell in mine if (size := _size(cell, sections[section])) is not None]
            points = [(size, score) for cell, size in sizes if (score := _score(cell)) is not None]
            areas.append(area(points, full[section], lowest[section], _chance(mine[0])))
            smallests.append(smallest(points, full[section]))
    known = [value for value in areas if value is not None]
    ratios = [ratio for standing in own if (ratio := standing.cell.lookup_ratio) is not None]
    return Summary(
        method=method,
        cells=len(own),
        failed=sum(not standing.cell.ok for standing in own),
        mean_rank=statistics.fmean(ranks) if ranks else None,
        ranked=len(ranks),
        area=statistics.fmean(known) if known else None,
        smallest=statistics.geometric_mean([1.0 if size is None else size for size in smallests])
        if smallests
        else None,
        lossless=sum(size is not None for size in smallests),
        sections=len(smallests),
        lookup_ratio=statistics.geometric_mean(ratios) if ratios else None,
    )


def area(points: Iterable[tuple[float, float]], full: float, lowest: float, chance: float | None) -> float | None:
    """Share of full precision's score above chance that a method retains, averaged over log bytes.

    ``(score - chance) / (full - chance)`` is averaged over the logarithm of the available bytes, from ``lowest`` to
    those of the fp32 table. At each size the method's largest point that fits counts; below its smallest point the
    score is that of chance. A value of 1 means full precision's score with the smallest bytes of the comparison.

    Args:
        points: ``(bytes_ratio, score)``, higher scores are better; a failure has its budget and the score of chance.
        full: score of full precision.
        lowest: smallest bytes ratio of the comparison, the same for all methods.
        chance: score of an uninformative model, and of a missing one.

    Returns:
        ``None`` if there is no score of chance, full precision does not exceed it, or no size is below full precision.
    """
    if chance is None or not 0 < lowest < 1 or full <= chance:
        return None
    ordered = sorted((min(max(size, lowest), 1.0), score) for size, score in points)
    total = 0.0
    for (size, score), (following, _) in pairwise([*ordered, (1.0, chance)]):
        total += (score - chance) / (full - chance) * math.log(following / size)
    return total / -math.log(lowest)


def smallest(points: Iterable[tuple[float, float]], full: float) -> float | None:
    """The smallest bytes ratio whose score is at most 0.1% (relative) below full precision's, if there is one."""
    least = (1 - LOSSLESS if full >= 0 else 1 + LOSSLESS) * full
    return min((size for size, score in points if score >= least), default=None)


def _chance(cell: Cell) -> float | None:
    return None if cell.metric.chance is None else cell.metric.score(cell.metric.chance)


def _score(cell: Cell) -> float | None:
    """Score of a cell; a failure has the score of chance, if known."""
    return _chance(cell) if cell.score_mean is None else cell.score_mean


def _full(members: Sequence[Standing]) -> float | None:
    found = [score for s in members if s.cell.is_reference and (score := s.cell.score_mean) is not None]
    return statistics.fmean(found) if found else None


def _size(cell: Cell, section: Sequence[Standing]) -> float | None:
    measured = cell.mean_of(lambda result: result.bytes_ratio)
    return measured if measured is not None else asked_ratio(cell, [standing.cell for standing in section])


def asked_ratio(cell: Cell, section: Sequence[Cell]) -> float | None:
    """Budget relative to fp32; if a failed run lacks it, it is that of a rival with the same budget."""
    rivals = [rival for rival in section if rival.name.budget == cell.name.budget != ""]
    return next(iter(_asked([cell, *rivals])), None)


def _lowest(members: Sequence[Standing]) -> float:
    """Smallest bytes ratio of a comparison: the smallest budget, or else the smallest result."""
    compared = [standing.cell for standing in members if not standing.cell.is_reference]
    sizes = _asked(compared) or [size for cell in compared if (size := _size(cell, members)) is not None]
    return min(sizes, default=1.0)


def _asked(cells: Iterable[Cell]) -> list[float]:
    """Budgets relative to fp32, of the runs that have both sizes."""
    results = [run.result for cell in cells for run in cell.runs]
    return [r.budget_bytes / r.fp32_bytes for r in results if r.budget_bytes and r.fp32_bytes]


def _ranks(standings: Sequence[Standing]) -> dict[str, list[float]]:
    """Ranks by method, one per group: tied methods share the mean of their ranks, failures share the last ranks."""
    groups: dict[tuple[Section, str], list[Standing]] = defaultdict(list)
    for standing in standings:
        if standing.rivals:
            groups[standing.section, standing.cell.name.budget].append(standing)
    ranks: dict[str, list[float]] = defaultdict(list)
    for members in groups.values():
        placed = [(s.rank, s.cell.name.method) for s in members if s.rank is not None]
        failed = [s.cell.name.method for s in members if s.worst]
        if not placed:
            continue
        taken = [rank for rank, _ in placed]
        for rank, method in placed:
            ranks[method].append(rank + (taken.count(rank) - 1) / 2)
        for method in failed:
            ranks[method].append(len(placed) + (len(failed) + 1) / 2)
    return ranks


def _last(rank: float | None) -> float:
    return math.inf if rank is None else rank
