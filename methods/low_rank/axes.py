"""The best projection of a trained table to short rows: principal axes of each field, and the rank of each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sharkbench.tables.dimensions import fewest, field_bytes, refuse_below_one, spend


@dataclass(frozen=True)
class Axes:
    """Principal axes of the rows of one field, row ``i`` having ``weight_i`` (weights sum to one).

    Attributes:
        mean: ``[W]``, the weighted mean row.
        axes: ``[W, W]``, an axis per row, orthonormal, the strongest first.
        energy: ``[W]``, the weighted mean of the squared coordinates along each axis, in falling order.
    """

    mean: Tensor
    axes: Tensor
    energy: Tensor

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor) -> Axes:
        """Axes of ``[n, W]`` rows with ``[n]`` weights of any sum."""
        share = (weights.double() / weights.double().sum())[:, None]
        mean = (share * rows).sum(0)
        centred = rows.double() - mean
        energy, vectors = torch.linalg.eigh(centred.T @ (share * centred))
        return cls(mean.float(), vectors.T.flip(0).float(), energy.flip(0).clamp(min=0).float())

    def cut(self, rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates ``[n, rank]``, axes ``[rank, W]`` and mean ``[W]`` of the rank-``rank`` rows of least error.

        They minimise ``sum_i weight_i || e_i - r_i P - b ||^2`` over all ``r P + b`` (Eckart and Young, 1936, for rows
        scaled by the root of their weight).
        """
        axes = self.axes[:rank]
        return (rows - self.mean) @ axes.T, axes, self.mean


def ranks_by_energy(axes: Sequence[Axes], rows: Sequence[int], width: int, budget: int, *, what: str) -> list[int]:
    """The rank of each field within ``budget`` bytes: one each, then axis by axis, the most energy per byte first.

    Raises:
        Infeasible: even rank one for every field takes more bytes.
    """
    refuse_below_one(rows, width, budget, what=what, bias=True)
    energies = [own.energy.tolist() for own in axes]

    def worth(field: int, rank: int, larger: int) -> float:
        cost = field_bytes(rows[field], larger, width, True) - field_bytes(rows[field], rank, width, True)
        return sum(energies[field][rank:larger]) / max(cost, 1)

    return spend(fewest(rows, width, True), worth, rows, width, budget, True)
