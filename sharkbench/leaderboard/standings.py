"""The standing of a row: its difference to full precision, its rank, and the resolution of the test split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sharkbench.leaderboard.cells import Cell, FinishedRun
from sharkbench.leaderboard.remarks import Pair, Remark, pair_of, remarks_of
from sharkbench.leaderboard.resolution import resolution
from sharkbench.leaderboard.statistics import MIN_SEEDS, Difference, holm, paired_difference, shared_ranks
from sharkbench.results.metrics import Parts


class Section(NamedTuple):
    """Identifies the rows that are compared with each other: the name of a cell without method and budget."""

    dataset: str
    split: str
    backbone: str
    label: str
    task: str


@dataclass(frozen=True)
class Standing:
    """A cell, compared with full precision and with the other methods of its budget."""

    cell: Cell
    difference: Difference | None = None
    """The primary metric minus that of full precision with the same seed; ``None`` for full precision itself."""
    p_holm: float | None = None
    """p-value of that difference, corrected for the methods of the same section and budget."""
    rank: int | None = None
    """Rank among the methods of the same section and budget, shared if seeds show no significant difference."""
    shared: bool = False
    """Whether other methods share the rank."""
    rivals: int = 0
    """Number of methods of the same section and budget, including this one."""
    resolution: float | None = None
    """The smallest difference to full precision that is significant with the rows of the test split."""
    remarks: tuple[Remark, ...] = ()
    """Remarks on its comparability."""

    @property
    def section(self) -> Section:
        return section_of(self.cell)

    @property
    def worst(self) -> bool:
        """Whether it has too few results to be ranked because of failures, so that aggregates count it as the worst."""
        return self.cell.n_failed > 0 and len(self.cell.value_by_seed) < MIN_SEEDS


def section_of(cell: Cell) -> Section:
    return Section(cell.name.dataset, cell.name.split, cell.name.backbone, cell.name.label, cell.name.task)


def standings_of(cells: Iterable[Cell]) -> list[Standing]:
    """The standing of every cell, in the same order."""
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
    full, own = ({pair_of(run): run for run in runs if cell.quality(run)} for runs in (cell.references, cell.ok))
    if cell.is_reference or not own:
        return Standing(cell)
    difference = paired_difference(_values(cell, cell.ok), _values(cell, cell.references))
    common = [pair for pair in own if pair in full]
    rows = resolution(*([p for pair in common if (p := _parts(cell, side[pair]))] for side in (own, full)))
    return Standing(cell, difference=difference, resolution=rows)


def _compare(standings: list[Standing], members: Sequence[int], *, ranked: bool) -> None:
    """Fill in corrected p-values and, if all have the same budget, ranks."""
    tested = [(i, p) for i in members if (found := standings[i].difference) and (p := found.p) is not None]
    for (i, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
        standings[i] = replace(standings[i], p_holm=p)
    if not ranked:
        return
    cells = {i: standings[i].cell for i in members}
    values = {i: _values(cell, cell.ok) for i, cell in cells.items()}
    scores = {i: {pair: cells[i].metric.score(value) for pair, value in own.items()} for i, own in values.items()}
    ranks = shared_ranks(scores)
    for i in members:
        shared = list(ranks.values()).count(ranks.get(i, 0)) > 1
        standings[i] = replace(standings[i], rank=ranks.get(i), shared=shared, rivals=len(members))


def _values(cell: Cell, runs: Iterable[FinishedRun]) -> dict[Pair, float]:
    """The primary metric of the cell's label, by pair."""
    return {pair_of(run): value for run in runs if (value := cell.value(run)) is not None}


def _parts(cell: Cell, run: FinishedRun) -> Parts | None:
    return run.result.parts.get(cell.name.label, {}).get(cell.metric.name)
