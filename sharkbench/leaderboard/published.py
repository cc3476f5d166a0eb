"""Compares results with published values: which of a suite's references are reproduced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sharkbench.leaderboard.cells import Cell
from sharkbench.results.metrics import Metric, primary_of
from sharkbench.suite.references import Reference

Verdict = Literal["reproduced", "better", "worse", "not measured"]


@dataclass(frozen=True)
class Comparison:
    """A reference and its measured value."""

    reference: Reference
    measured: float | None
    """Measured value, mean over seeds."""
    n: int
    """Number of seeds."""
    verdict: Verdict

    @property
    def deviation(self) -> float | None:
        """Measured minus published."""
        return None if self.measured is None else self.measured - self.reference.value


def compare_with_published(cells: Iterable[Cell], references: Sequence[Reference]) -> list[Comparison]:
    """Every reference with its measurement, in the order of ``references``.

    A reference without a label refers to the only label; if there are several, it counts as not measured.
    """
    cells = list(cells)
    return [_compare([cell for cell in cells if _is_of(cell, reference)], reference) for reference in references]


def _is_of(cell: Cell, reference: Reference) -> bool:
    name = cell.name
    own = (name.dataset, name.backbone, name.method, name.budget)
    wanted = (reference.dataset, reference.backbone, reference.method, reference.budget)
    return own == wanted and reference.label in ("", name.label)


def _compare(found: Sequence[Cell], reference: Reference) -> Comparison:
    name = reference.metric or (primary_of(found[0].metrics).name if found else "")
    metric = {metric.name: metric for cell in found[:1] for metric in cell.metrics}.get(name)
    measured = found[0].mean(name) if len(found) == 1 and metric else None
    if measured is None or metric is None:
        return Comparison(reference, None, 0, "not measured")
    return Comparison(reference, measured, len(found[0].ok), _verdict(measured, reference, metric))


def _verdict(measured: float, reference: Reference, metric: Metric) -> Verdict:
    # Rounding of decimal fractions must not matter: .802 is within .001 of .801.
    if abs(measured - reference.value) <= reference.tolerance * (1 + 1e-9):
        return "reproduced"
    return "better" if metric.score(measured) > metric.score(reference.value) else "worse"
