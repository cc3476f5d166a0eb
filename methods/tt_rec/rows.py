"""Rows as products of small cores, in training (TT-Rec)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.formats.tensor_train import TensorTrain
from sharkbench.tables.parts import Part, Slots

from .shapes import TrainShape

TAIL = 2.0
"""Cores start from normal values of at least this magnitude, so that their products stay away from zero."""
TABLE_ROWS = 4
"""All combinations of digits are computed where there are at most this many per row that a batch reads."""
PADDED_ROWS = 4
"""Rows are laid out by digit where that takes at most this many positions per row."""


class TensorTrainRows(Part):
    """``e_i = G_1[i_1] G_2[i_2] ... G_K[i_K]`` per field, ``i_k`` the digits of the row.

    Maps rows ``[B, C]`` to vectors ``[B, C, width]``. Cores start such that the generated rows have the standard
    deviation ``init_std`` of a full table: entries are normal values conditioned on a magnitude of at least 2 (the
    sampled Gaussian of TT-Rec, Yin et al., MLSys 2021), then scaled by the root mean square of the field's generated
    rows, which is computed exactly.

    Args:
        schema: of the data set.
        fields: of this part, ascending.
        width: weights per row.
        trains: of each field, the trains whose columns are concatenated.
        init_std: standard deviation of the rows of a full table.
        lr_factor: learning rate of the cores relative to that of a table.

    Shapes: ``cores.{j}`` ``[n, r, d, r']``, train by train. Their gradients are dense, since the cores are small.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        trains: Sequence[Sequence[TrainShape]],
        init_std: float,
        *,
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__(schema, fields, width)
        if len(trains) != len(self.fields):
            raise ValueError(f"{len(trains)} lists of trains for {len(self.fields)} fields")
        self.trains, self.lr_factor = [tuple(own) for own in trains], lr_factor
        self.cores = nn.ParameterList(core for own in self.trains for train in own for core in sampled(train, init_std))

    def _own_cores(self) -> list[list[list[nn.Parameter]]]:
        """Per field, the cores of each of its trains."""
        flow = iter(self.cores)
        return [[[next(flow) for _ in train.rows] for train in own] for own in self.trains]

    def forward(self, slots: Slots) -> Tensor:
        # Neighbouring columns of one field are looked up together.
        runs = [(place, len(list(run))) for place, run in groupby(slots.places)]
        cores, vectors = self._own_cores(), []
        for (place, _), rows in zip(runs, slots.local.split([length for _, length in runs], 1), strict=True):
            parts = [train_rows(rows.flatten(), own) for own in cores[place]]
            vectors.append((parts[0] if len(parts) == 1 else torch.cat(parts, 1)).unflatten(0, rows.shape))
        return torch.cat(vectors, 1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.cores), "lr_factor": self.lr_factor, "l2": 0.0}]

    def pack(self) -> list[Format]:
        parts: list[Format] = []
        for field, own in zip(self.fields, self._own_cores(), strict=True):
            packed = [TensorTrain.pack(self.schema, [field], [core.clone() for core in cores]) for cores in own]
            parts.append(packed[0] if len(packed) == 1 else SideBySide.pack(packed))
        return parts


def sampled(train: TrainShape, init_std: float) -> list[Tensor]:
    """Cores from the sampled Gaussian, scaled such that the rows they generate have root mean square ``init_std``."""
    cores = []
    for shape in train.cores:
        # Sample the upper tail by the inverse distribution function, then a sign for each entry.
        tail = torch.special.ndtr(torch.tensor(-TAIL, dtype=torch.float64))
        numbers = -torch.special.ndtri(tail * (1 - torch.rand(shape, dtype=torch.float64)))
        cores.append(numbers * (2 * torch.randint(2, shape) - 1))
    scale = (init_std / root_mean_square(cores)) ** (1 / len(cores))
    return [(core * scale).float() for core in cores]


def root_mean_square(cores: Sequence[Tensor]) -> float:
    """Root mean square of all values that the cores generate, without generating them.

    The sum of squares is a chain of Gram matrices ``[r_k, r_k]``, summed over rows and columns core by core.
    """
    gram = torch.ones(1, 1, dtype=cores[0].dtype)
    for core in cores:
        gram = torch.einsum("ab,nadc,nbde->ce", gram, core, core)
    count = prod(core.shape[0] * core.shape[2] for core in cores)
    return float(gram.item() / count) ** 0.5


def train_rows(rows: Tensor, cores: Sequence[Tensor]) -> Tensor:
    """``[N]`` int64 rows to ``[N, columns]``: as ``tensor_train_rows`` of the format, but with less memory.

    Gathering a slice ``[r, d, r']`` of a middle core per row would move far more than the row itself. So every distinct
    row and every distinct combination of leading digits is computed once, all combinations are computed where they are
    few, and the rows that share a digit are multiplied by its slice together.
    """
    distinct, places = torch.unique(rows, return_inverse=True)
    return F.embedding(places, _distinct_rows(distinct, cores).flatten(1))


def _distinct_rows(rows: Tensor, cores: Sequence[Tensor]) -> Tensor:
    """Ascending rows ``[U]`` of the leading cores to ``[U, columns so far, r]``."""
    if len(cores) == 1:
        return cores[0].index_select(0, rows).squeeze(1)
    if prod(core.shape[0] for core in cores) <= TABLE_ROWS * len(rows):
        return reduce(_merge, cores).index_select(0, rows).squeeze(1)
    last = cores[-1]
    heads, places = torch.unique_consecutive(torch.div(rows, last.shape[0], rounding_mode="floor"), return_inverse=True)
    left = _distinct_rows(heads, cores[:-1]).index_select(0, places)
    return _times_slices(left, rows % last.shape[0], last)


def _times_slices(left: Tensor, digits: Tensor, core: Tensor) -> Tensor:
    """``left[u] G[digits[u]]``: ``[U, a, r]``, ``[U]`` and ``[n, r, c, s]`` to ``[U, a c, s]``."""
    (count, a, r), (n, _, c, s) = left.shape, core.shape
    sizes = torch.bincount(digits, minlength=n)
    room = int(sizes.max())
    if n * room > PADDED_ROWS * count:
        return torch.bmm(left, core.index_select(0, digits).flatten(2)).view(count, a * c, s)
    # Each digit has room for as many rows as the most frequent digit needs.
    order = torch.argsort(digits, stable=True)
    within = torch.arange(count, device=digits.device) - (sizes.cumsum(0) - sizes)[digits[order]]
    slots = torch.empty_like(digits).index_copy_(0, order, digits[order] * room + within)
    padded = left.new_zeros(n * room, a * r).index_copy(0, slots, left.flatten(1))
    made = torch.bmm(padded.view(n, room * a, r), core.flatten(2))
    return made.view(n * room, a * c * s).index_select(0, slots).view(count, a * c, s)


def _merge(left: Tensor, right: Tensor) -> Tensor:
    """Contract cores ``[n, a, d, r]`` and ``[m, r, c, s]`` to one core ``[n m, a, d c, s]``."""
    (n, a, d, r), (m, _, c, s) = left.shape, right.shape
    table = left.reshape(n * a * d, r) @ right.transpose(0, 1).reshape(r, m * c * s)
    return table.view(n, a, d, m, c, s).permute(0, 3, 1, 2, 4, 5).reshape(n * m, a, d * c, s)
