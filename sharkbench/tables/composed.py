"""Rows composed of a few rows of small tables: the hashing trick, QR and their relatives, in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.errors import InputError
from sharkbench.formats.base import Format
from sharkbench.formats.composed import Composed
from sharkbench.formats.composed_parts import Operation
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import Digit, Hash
from sharkbench.formats.tier_index import TierIndex
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.rows import Rows
from sharkbench.tables.sharded import lookup

FieldFunctions = Sequence[Digit | Hash]
"""The index functions of one field, one per small table."""


@dataclass(frozen=True)
class SmallTable:
    """One small table of a composition.

    Attributes:
        width: weights per row; a single one is broadcast by add and mult.
        std: entries start from N(0, std).
        operation: how its rows are combined with those of the tables before it; ignored for the first.
        lr_factor: times the embedding learning rate.
    """

    width: int
    std: float
    operation: Operation = "add"
    lr_factor: float = 1.0


class ComposedRows(Part):
    """``e_i = T_0[h_0(i)] op T_1[h_1(i)] op ...`` with ``i`` the local id and ``op`` one of add, mult and concat.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. Every field has ``k`` small tables; those of all fields are merged
    into one parameter per ``j < k``. Entries of the small tables start normal, such that entries of the *generated*
    rows have the standard deviation ``init_std`` of a full table: ``init_std / sqrt(k)`` for add, ``init_std`` for
    concat.

    With mult, the factors after the first are parameterised as ``1 + table``, tables starting from N(0, 1/4). A product
    of factors has a saddle at zero, and weight decay would drive all rows into it; around one, decay only makes ids
    share more, and is weaker by :data:`FACTOR_DECAY`. This is this project's own form; packing stores the plain
    factors.

    With ``own``, chosen rows are not composed: they follow those of ``tables.0``, and the other tables end in a row of
    zeros that is never trained, so that add and the factor ``1 + 0`` leave the chosen rows unchanged.

    Args:
        schema: of the data set.
        fields: of this part, ascending.
        width: weights per row; concat divides them among the small tables.
        functions: of each field, its ``k`` index functions.
        combine: the operation (ignored with ``k = 1``) of equal small tables, or a list of the ``k`` small tables.
        init_std: standard deviation of the rows of a full table.
        own: ``[R]`` bool, which rows are not composed; add and mult only.

    Shapes: ``tables.{j}`` ``[sum of the moduli of small table j, its width]``.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        functions: Sequence[FieldFunctions],
        combine: Operation | Sequence[SmallTable],
        init_std: float,
        *,
        own: Tensor | None = None,
    ) -> None:
        super().__init__(schema, fields, width)
        # [small tables][fields]
        self.functions = [list(part) for part in zip(*functions, strict=True)]
        if isinstance(combine, str):
            combine = equal_tables(width, len(self.functions), combine, init_std)
        self.small = tuple(combine) if self.functions else ()
        self.moduli = [sum(f.modulus for f in part) for part in self.functions]
        tables = [torch.empty(n, s.width).normal_(std=s.std) for n, s in zip(self.moduli, self.small, strict=True)]
        self.chosen: nn.Module | None = None
        if own is not None and self.functions:
            self.chosen = TierIndex.of(own, 2)
            tables[0] = torch.cat([tables[0], torch.empty(int(own.sum()), width).normal_(std=init_std)])
            tables[1:] = [torch.cat([table, table.new_zeros(1, table.shape[1])]) for table in tables[1:]]
        self.tables = nn.ParameterList(tables)
        bases = [np.cumsum([0, *(f.modulus for f in part)])[:-1] for part in self.functions]
        self.register_buffer("bases", torch.from_numpy(np.array(bases, dtype=np.int64)), persistent=False)
        self.bases: Tensor
        """``[small tables, fields]``: the first row of each field."""

    def forward(self, slots: Slots) -> Tensor:
        rows = [self._rows(j, slots) for j in range(len(self.tables))]
        spare: list[int | None] = [None] * len(rows)
        if isinstance(self.chosen, TierIndex):
            chosen, rank = self.chosen.locate(slots.rows)
            chosen = chosen.bool()
            rows[0] = torch.where(chosen, self.moduli[0] + rank, rows[0])
            for j in range(1, len(rows)):
                spare[j] = self.moduli[j]
                rows[j] = rows[j].masked_fill(chosen, self.moduli[j])
        parts = [
            lookup(table, at, padding_idx=end, sparse=self.sparse)
            for at, table, end in zip(rows, self.tables, spare, strict=True)
        ]
        result = parts[0]
        for part, said in zip(parts[1:], self.small[1:], strict=True):
            match said.operation:
                case "concat":
                    result = torch.cat([result, part], -1)
                case "add":
                    result = result + part
                case "mult":
                    result = result * (1 + part)
        return result

    def _rows(self, j: int, slots: Slots) -> Tensor:
        """``[B, C]`` rows of small table ``j``."""
        functions = [self.functions[j][place] for place in slots.places]
        rows = torch.stack([f(column) for f, column in zip(functions, slots.local.unbind(1), strict=True)], 1)
        return rows + self.bases[j][slots.owner]

    def row_tables(self) -> list[nn.Parameter]:
        return list(self.tables)

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [
            {"params": [table], "lr_factor": part.lr_factor, "l2_factor": FACTOR_DECAY if multiplies else 1.0}
            for j, (part, table) in enumerate(zip(self.small, self.tables, strict=True))
            if (multiplies := j > 0 and part.operation == "mult") or part.lr_factor != 1
        ]
        apart = {id(group["params"][0]) for group in groups}
        return [{"params": [p for p in self.parameters() if id(p) not in apart]}, *groups]

    def pack(self) -> list[Format]:
        stored = [table.detach()[:n] for n, table in zip(self.moduli, self.tables, strict=True)]
        tables = [
            1 + t if p.operation == "mult" and j else t.clone()
            for j, (p, t) in enumerate(zip(self.small, stored, strict=True))
        ]
        head = None
        if isinstance(self.chosen, TierIndex):
            head = (self.chosen.tiers(self.num_rows).bool(), self.tables[0].detach()[self.moduli[0] :].clone())
        operations = [part.operation for part in self.small[1:]]
        return [Composed.pack(self.schema, self.fields, self.functions, tables, operations, head=head)]


def composed_parts(
    schema: Schema,
    fields: Sequence[int],
    width: int,
    functions: Sequence[FieldFunctions],
    combine: Operation | Sequence[SmallTable],
    init_std: float,
    *,
    own: Tensor | None = None,
) -> list[Part]:
    """:class:`ComposedRows` for the fields with index functions, and a row per id for the others.

    Args:
        functions: of each of ``fields``, none where it keeps a row per id.
    """
    given = dict(zip(fields, functions, strict=True))
    made = [f for f in fields if given[f]]
    composed = ComposedRows(schema, made, width, [given[f] for f in made], combine, init_std, own=own)
    return [composed, Rows.initial(schema, [f for f in fields if not given[f]], width, init_std)]


def equal_tables(width: int, parts: int, combine: Operation, init_std: float) -> list[SmallTable]:
    """Equal small tables, such that entries of the composed rows start with standard deviation ``init_std``."""
    widths, stds = part_widths(width, parts, combine), factor_stds(init_std, parts, combine)
    return [SmallTable(w, std, combine) for w, std in zip(widths, stds, strict=True)]


def part_widths(width: int, parts: int, combine: Operation) -> list[int]:
    """Width of each part: the full width, or for concat an equal share, the first parts taking the remainder.

    Raises:
        InputError: there are more parts than columns.
    """
    if combine != "concat":
        return [width] * parts
    if width < parts:
        raise InputError(f"a row of {width} numbers cannot be cut into {parts} parts")
    return [width // parts + (j < width % parts) for j in range(parts)]


FACTOR_STD = 0.5
"""Initial standard deviation of the factors of a product, around one."""
FACTOR_DECAY = 0.01
"""Weight decay of factors, relative to that of rows (ours). A factor's gradient passes through the row that it
multiplies, whose values are far below one, so decay of the same strength outweighs it and factors tend to one: ids
share rows as in the hashing trick."""


def factor_stds(init_std: float, parts: int, combine: Operation) -> list[float]:
    """Standard deviation of each small table's entries, such that entries of the generated rows have ``init_std``."""
    if parts == 0:
        return []
    if combine == "add":
        return [init_std / parts**0.5] * parts
    if combine == "concat":
        return [init_std] * parts
    return [init_std / (1 + FACTOR_STD**2) ** ((parts - 1) / 2)] + [FACTOR_STD] * (parts - 1)


def composed_nbytes(schema: Schema, width: int, functions: Sequence[FieldFunctions], combine: Operation) -> int:
    """Bytes of the packed layer of :class:`ComposedRows` whose index functions are digits, in closed form."""
    total = 0
    for field, made_of in zip(schema.fields, functions, strict=True):
        if made_of:
            widths = part_widths(width, len(made_of), combine)
            total += Composed.bytes_of([f.modulus for f in made_of], widths, combine)
        else:
            total += Dense.bytes_of(field.cardinality, width)
    return total
