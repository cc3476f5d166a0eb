"""What a row may claim: its difference to full precision, its rank, and what the test rows can show."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sharkbench.leaderboard.cells import Cell, FinishedRun
from sharkbench.leaderboard.resolution import resolution
from sharkbench.leaderboard.statistics import MIN_SEEDS, Difference, holm, paired_difference, shared_ranks
from sharkbench.records import AucBlocks, Quality

Pair = tuple[str, int]
"""What two runs must share to be compared: recipe and data, and the seed."""


class Section(NamedTuple):
    """What is compared with each other: everything of a cell but method and budget."""

    dataset: str
    split: str
    backbone: str
    label: str


@dataclass(frozen=True)
class Standing:
    """A cell, and how it stands to full precision and to the other methods of its budget."""

    cell: Cell
    difference: Difference | None = None
    """AUC minus that of the full-precision run with the same seed; ``None`` for full precision itself."""
    p_holm: float | None = None
    """Of that difference, corrected for the methods of the same section and budget."""
    rank: int | None = None
    """Among the methods of the same section and budget, shared where seeds cannot tell them apart."""
    shared: bool = False
    """Whether others have that rank too."""
    rivals: int = 0
    """Methods of the same section and budget, itself included."""
    resolution: float | None = None
    """The smallest difference to full precision that the rows of the test split can show."""
    remarks: tuple[str, ...] = ()
    """What makes it less comparable than its figures look."""

    @property
    def section(self) -> Section:
        return section_of(self.cell)

    @property
    def worst(self) -> bool:
        """Whether failures leave too little of it to be ranked, so that aggregates count it as the worst."""
        return self.cell.n_failed > 0 and len(self.cell.auc_by_seed) < MIN_SEEDS


def section_of(cell: Cell) -> Section:
    return Section(cell.name.dataset, cell.name.split, cell.name.backbone, cell.name.label)


def standings_of(cells: Iterable[Cell]) -> list[Standing]:
    """The standing of every cell, in their order."""
    standings = [_to_full(cell) for cell in cells]
    groups: dict[tuple[Section, str], list[int]] = defaultdict(list)
    for index, standing in enumerate(standings):
        if not standing.cell.is_reference:
            groups[standing.section, standing.cell.name.budget].append(index)
    for (_, budget), members in groups.items():
        _compare(standings, members, ranked=bool(budget))
    sections: dict[Section, list[int]] = defaultdict(list)
    for index, standing in enumerate(standings):
        sections[standing.section].append(index)
    for members in sections.values():
        code = _commonest(revision(run) for i in members for run in standings[i].cell.runs)
        data = _commonest(run.result.data_fingerprint for i in members for run in standings[i].cell.runs)
        for i in members:
            standings[i] = replace(standings[i], remarks=tuple(_remarks(standings[i], code, data)))
    return standings


def _to_full(cell: Cell) -> Standing:
    full = {_pair(run): quality for run in cell.references if (quality := cell.quality(run))}
    own = {_pair(run): quality for run in cell.ok if (quality := cell.quality(run))}
    if cell.is_reference or not own:
        return Standing(cell)
    difference = paired_difference(_auc(own), _auc(full))
    common = [pair for pair in own if pair in full]
    rows = resolution(list(_blocks(own, common)), list(_blocks(full, common)))
    return Standing(cell, difference=difference, resolution=rows)


def _compare(standings: list[Standing], members: Sequence[int], *, ranked: bool) -> None:
    """Fill in corrected p-values and, where all have the same bytes to spend, ranks."""
    tested = [(i, p) for i in members if (found := standings[i].difference) and (p := found.p) is not None]
    for (i, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
        standings[i] = replace(standings[i], p_holm=p)
    if not ranked:
        return
    cells = {i: standings[i].cell for i in members}
    qualities = {i: {_pair(run): q for run in cell.ok if (q := cell.quality(run))} for i, cell in cells.items()}
    ranks = shared_ranks({i: _auc(found) for i, found in qualities.items()})
    for i in members:
        shared = list(ranks.values()).count(ranks.get(i, 0)) > 1
        standings[i] = replace(standings[i], rank=ranks.get(i), shared=shared, rivals=len(members))


def _pair(run: FinishedRun) -> Pair:
    return run.result.comparison, run.result.seed


def _auc(qualities: dict[Pair, Quality]) -> dict[Pair, float]:
    return {pair: quality.auc for pair, quality in qualities.items() if not math.isnan(quality.auc)}


def _blocks(qualities: dict[Pair, Quality], pairs: Iterable[Pair]) -> Iterator[AucBlocks]:
    return (blocks for pair in pairs if (blocks := qualities[pair].auc_blocks) is not None)


def revision(run: FinishedRun) -> str:
    """Which code made a run: the git revision (``+`` where files differed from it), else the package's version."""
    if run.environment is None:
        return "unknown"
    if run.environment.git_revision is None:
        return run.environment.sharkbench
    return run.environment.git_revision[:10] + "+" * bool(run.environment.git_dirty)


def _commonest(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def _apart(cell: Cell) -> int:
    """How many seeds are compared with a full-precision run on other hardware, or by another torch."""
    full = {_pair(run): run.environment.arithmetic for run in cell.references if run.environment}
    own = [(_pair(run), run.environment.arithmetic) for run in cell.ok if run.environment]
    return sum(full.get(pair, arithmetic) != arithmetic for pair, arithmetic in own)


def _of_other_code(cell: Cell) -> Iterator[str]:
    states = Counter(run.state for run in cell.runs)
    if stale := states["stale"]:
        yield f"stale: {stale} of {len(cell.runs)} runs are of code that has changed since, and nobody verified them"
    for state in ("verified", "verified on other hardware"):
        if number := states[state]:
            yield f"{number} of {len(cell.runs)} runs are of earlier code, {state}"


def _remarks(standing: Standing, code: str, data: str) -> Iterator[str]:
    cell = standing.cell
    yield from _of_other_code(cell)
    if other := sorted({revision(run) for run in cell.runs} - {code}):
        yield f"made by revision {', '.join(other)}, most of this table by {code}"
    if other := sorted({run.result.data_fingerprint[:10] for run in cell.runs} - {data[:10]}):
        yield f"made from data {', '.join(other)}, most of this table from {data[:10]}"
    if len({run.speed.hardware for run in cell.ok if run.speed}) > 1:
        yield "speeds measured on different hardware: ratios only"
    if outdated := sum(run.outdated for run in cell.ok):
        yield f"lookups of {outdated} of {len(cell.ok)} runs were timed by formats or kernels that have changed since"
    if len(versions := sorted({run.environment.torch for run in cell.ok if run.environment})) > 1:
        yield f"made by torch {' and '.join(versions)}"
    if apart := _apart(cell):
        pairs = f"{apart} of {len(cell.ok)} seeds pair with full precision of other hardware or torch"
        yield f"{pairs}: such differences vary more"
    if cell.superseded:
        yield f"{len(cell.superseded)} older runs with other settings are left out"
    if cell.n_failed and cell.ok:
        yield f"{cell.n_failed} of {len(cell.runs)} seeds failed"
    if len(cell.auc_by_seed) < MIN_SEEDS and cell.ok:
        yield f"fewer than {MIN_SEEDS} seeds: no interval, no rank"
    elif not cell.is_reference and cell.ok and (standing.difference is None or standing.difference.n < MIN_SEEDS):
        yield f"fewer than {MIN_SEEDS} seeds in common with full precision: no interval"
