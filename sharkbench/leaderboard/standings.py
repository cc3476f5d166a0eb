"""What a row may claim: its difference to full precision, its rank, and what the test rows can show."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sharkbench.leaderboard.cells import Cell
from sharkbench.leaderboard.remarks import Pair, Remark, pair_of, remarks_of
from sharkbench.leaderboard.resolution import resolution
from sharkbench.leaderboard.statistics import MIN_SEEDS, Difference, holm, paired_difference, shared_ranks
from sharkbench.results.records import AucBlocks, Quality


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
    remarks: tuple[Remark, ...] = ()
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
        for i, remarks in zip(members, remarks_of([standings[i] for i in members]), strict=True):
            standings[i] = replace(standings[i], remarks=remarks)
    return standings


def _to_full(cell: Cell) -> Standing:
    full = {pair_of(run): quality for run in cell.references if (quality := cell.quality(run))}
    own = {pair_of(run): quality for run in cell.ok if (quality := cell.quality(run))}
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
    qualities = {i: {pair_of(run): q for run in cell.ok if (q := cell.quality(run))} for i, cell in cells.items()}
    ranks = shared_ranks({i: _auc(found) for i, found in qualities.items()})
    for i in members:
        shared = list(ranks.values()).count(ranks.get(i, 0)) > 1
        standings[i] = replace(standings[i], rank=ranks.get(i), shared=shared, rivals=len(members))


def _auc(qualities: dict[Pair, Quality]) -> dict[Pair, float]:
    return {pair: quality.auc for pair, quality in qualities.items() if not math.isnan(quality.auc)}


def _blocks(qualities: dict[Pair, Quality], pairs: Iterable[Pair]) -> Iterator[AucBlocks]:
    return (blocks for pair in pairs if (blocks := qualities[pair].auc_blocks) is not None)
