"""Remarks that limit the comparability of a row: the one list that all views use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sharkbench.leaderboard.cells import Cell, FinishedRun
from sharkbench.leaderboard.figures import times
from sharkbench.leaderboard.statistics import MIN_SEEDS

if TYPE_CHECKING:
    from sharkbench.leaderboard.standings import Standing

Pair = tuple[str, int]
"""Properties that two runs must share to be compared: recipe and data, and the seed."""
MANY = 3
"""Least number of methods better than full precision for a remark on full precision itself."""


class Remark(NamedTuple):
    text: str
    on_terminal: bool = False
    """Whether it is also printed below the table on a terminal, which has no room for all remarks."""


def remarks_of(standings: Sequence[Standing]) -> Iterator[tuple[Remark, ...]]:
    """The remarks of each row; ``standings`` are all rows that are compared with each other."""
    runs = [run for standing in standings for run in standing.cell.runs]
    code = _commonest(revision(run) for run in runs)
    data = _commonest(run.result.data_fingerprint for run in runs)
    beaten = _beaten(standings)
    for standing in standings:
        alone = [
            *_of_other_code(standing.cell),
            *(Remark(text) for text in _of_runs(standing, code, data)),
            *_of_speeds(standing.cell),
        ]
        yield (*alone, *_of_full_precision(standing, beaten))


def _of_other_code(cell: Cell) -> Iterator[Remark]:
    states = Counter(run.state for run in cell.runs)
    if stale := states["stale"]:
        yield Remark(f"stale: the code of {stale} of {len(cell.runs)} runs has changed since, and nobody verified them")
    for state in ("verified", "verified on other hardware"):
        if number := states[state]:
            yield Remark(f"{number} of {len(cell.runs)} runs are of earlier code, {state}")
    if outdated := sum(run.outdated for run in cell.ok):
        yield Remark(f"lookups of {outdated} of {len(cell.ok)} runs were timed by formats or kernels of before")


def _of_runs(standing: Standing, code: str, data: str) -> Iterator[str]:
    cell = standing.cell
    if other := sorted({revision(run) for run in cell.runs} - {code}):
        yield f"made by revision {', '.join(other)}, most of this table by {code}"
    if other := sorted({run.result.data_fingerprint[:10] for run in cell.runs} - {data[:10]}):
        yield f"made from data {', '.join(other)}, most of this table from {data[:10]}"
    if len({run.speed.hardware for run in cell.ok if run.speed}) > 1:
        yield "speeds measured on different hardware: ratios only"
    if len(versions := sorted({run.environment.torch for run in cell.ok if run.environment})) > 1:
        yield f"made by torch {' and '.join(versions)}"
    if apart := _apart(cell):
        pairs = f"{apart} of {len(cell.ok)} seeds pair with full precision of other hardware or torch"
        yield f"{pairs}: such differences vary more"
    if cell.superseded:
        yield f"{len(cell.superseded)} older runs with other settings are left out"
    if cell.n_failed and cell.ok:
        yield f"{cell.n_failed} of {len(cell.runs)} seeds failed"
    if len(cell.value_by_seed) < MIN_SEEDS and cell.ok:
        yield f"fewer than {MIN_SEEDS} seeds: no interval, no rank"
    elif not cell.is_reference and cell.ok and (standing.difference is None or standing.difference.n < MIN_SEEDS):
        yield f"fewer than {MIN_SEEDS} seeds in common with full precision: no interval"


def _of_speeds(cell: Cell) -> Iterator[Remark]:
    timed = [run.speed for run in cell.ok if run.speed]
    if busy := [speed.other_cpu_percent for speed in timed if speed.busy]:
        yield Remark(
            f"timed on a busy machine: other processes used up to {max(busy):.0f}% of a core "
            f"({len(busy)} of {len(timed)} seeds)"
        )


def times_of(cell: Cell, ratio: float | None) -> str:
    """A speed of the cell as tables show it: ``1.7x``, or ``1.7x?`` if it was timed on a busy machine."""
    shown = times(ratio)
    return f"{shown}?" if shown and any(run.speed.busy for run in cell.ok if run.speed) else shown


def _beats(standing: Standing) -> bool:
    """Whether it is significantly better than full precision."""
    difference = standing.difference
    return difference is not None and difference.resolved and standing.cell.metric.score(difference.mean) > 0


def _beaten(standings: Sequence[Standing]) -> tuple[int, int]:
    """Number of methods that are better than full precision at some budget, and the number of all methods."""
    compared = [standing for standing in standings if standing.difference and standing.difference.interval]
    beating = {standing.cell.name.method for standing in compared if _beats(standing)}
    return len(beating), len({standing.cell.name.method for standing in compared})


def _of_full_precision(standing: Standing, beaten: tuple[int, int]) -> Iterator[Remark]:
    advice = "full precision may be trained too little or too long; try other learning rates, epochs or embedding_l2"
    if _beats(standing):
        yield Remark(f"better than full precision by more than its interval: {advice}", on_terminal=True)
    if standing.cell.is_reference and beaten[0] >= MANY:
        yield Remark(f"beaten by {beaten[0]} of {beaten[1]} methods by more than their intervals: {advice}", True)


def _apart(cell: Cell) -> int:
    """Number of seeds that are compared with a full-precision run on other hardware, or by another torch."""
    full = {pair_of(run): run.environment.arithmetic for run in cell.references if run.environment}
    own = [(pair_of(run), run.environment.arithmetic) for run in cell.ok if run.environment]
    return sum(full.get(pair, arithmetic) != arithmetic for pair, arithmetic in own)


def _commonest(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def pair_of(run: FinishedRun) -> Pair:
    """The properties that another run must share with this one to be compared."""
    return run.result.comparison, run.result.seed


def revision(run: FinishedRun) -> str:
    """The code of a run: the git revision (with ``+`` if files differed from it), else the package's version."""
    if run.environment is None:
        return "unknown"
    if run.environment.git_revision is None:
        return run.environment.sharkbench
    return run.environment.git_revision[:10] + "+" * bool(run.environment.git_dirty)
