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
from sharkbench.formats.composed import Composed
from sharkbench.formats.composed_parts import Operation
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import Digit, Hash
from sharkbench.formats.tier_index import TierIndex
from sharkbench.tables.sharded import lookup
from sharkbench.tables.whole_fields import WithWholeFields

FieldFunctions = Sequence[Digit | Hash]
"""The index functions of one field, one per small table; none where the field keeps its full table."""


@dataclass(frozen=True)
class Part:
    """One small table of a composition.

    Attributes:
        width: numbers per row; one of them is broadcast by add and mult.
        std: entries start from N(0, std).
        operation: how its rows join what the parts before it made; of no meaning for the first.
        lr_factor: times the embedding learning rate.
    """

    width: int
    std: float
    operation: Operation = "add"
    lr_factor: float = 1.0


class ComposedTable(WithWholeFields):
    """``e_i = T_0[h_0(i)] op T_1[h_1(i)] op ...`` with ``i`` the local id and ``op`` one of add, mult and concat.

    Every composed field has ``k`` small tables; those of all fields lie in one merged parameter per ``j < k``. A field
    without index functions keeps a row per id. Entries of the small tables start normal, such that entries of the
    *generated* rows have the standard deviation ``init_std`` of a full table's: ``init_std / sqrt(k)`` for add,
    ``init_std`` for concat.

    With mult, the factors after the first are kept as ``1 + table``, tables starting from N(0, 1/4). A product of
    factors around zero has a saddle there that weight decay drives all rows into; around one, decay only makes them
    share more, and is weaker by :data:`FACTOR_DECAY`. This is this project's own form; the packed factors are the
    products' plain ones.

    With ``own``, chosen rows of composed fields are not composed: they follow those of ``tables.0``, and the other
    tables end in a row of zeros that is never trained, which add and the factor ``1 + 0`` leave them alone by.

    Args:
        schema: of the data set.
        width: numbers per row; concat divides them among the parts.
        functions: per field of the schema, its ``k`` index functions, or none.
        combine: the operation (of no meaning with ``k = 1``) for parts alike, or the ``k`` parts one by one.
        init_std: of the rows of a full table.
        sparse: gradients hold the batch's rows only.
        own: ``[num_rows]`` bool, who has a row of its own among the rows of composed fields; add and mult only.

    Shapes: parameters ``tables.{j}`` ``[sum of moduli of part j, width of part j]``, ``full`` ``[rows of full fields,
    width]``.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        functions: Sequence[FieldFunctions],
        combine: Operation | Sequence[Part],
        init_std: float,
        *,
        sparse: bool = False,
        own: Tensor | None = None,
    ) -> None:
        if len(functions) != schema.num_fields:
            raise ValueError(f"{len(functions)} lists of index functions for {schema.num_fields} fields")
        super().__init__(schema, width, [f for f, made_of in enumerate(functions) if made_of], sparse=sparse)
        # [parts][composed fields]
        self.functions = [list(part) for part in zip(*(functions[f] for f in self.made), strict=True)]
        if isinstance(combine, str):
            combine = equal_parts(width, len(self.functions), combine, init_std)
        self.parts = tuple(combine) if self.made else ()
        self.sizes = [sum(f.modulus for f in part) for part in self.functions]
        tables = [torch.empty(n, p.width).normal_(std=p.std) for n, p in zip(self.sizes, self.parts, strict=True)]
        self.chosen: nn.Module | None = None
        if own is not None and self.made:
            mask = torch.cat([own[schema.offsets[f] : schema.offsets[f + 1]] for f in self.made])
            self.chosen = TierIndex.of(mask, 2)
            tables[0] = torch.cat([tables[0], torch.empty(int(mask.sum()), width).normal_(std=init_std)])
            tables[1:] = [torch.cat([table, table.new_zeros(1, table.shape[1])]) for table in tables[1:]]
        self.tables = nn.ParameterList(tables)
        self.keep_whole(init_std)
        self._lay_out()

    def _lay_out(self) -> None:
        """Where the rows of each column's field begin, in the id space, in each part's table, and among the composed"""
        place = {f: i for i, f in enumerate(self.made)}
        self._places = [place[f] for f in self.made_fields]
        bases = [np.cumsum([0, *(f.modulus for f in part)])[self._places] for part in self.functions]
        rows = np.cumsum([0, *(self.schema.fields[f].cardinality for f in self.made)])
        self.register_buffer("bases", torch.from_numpy(np.array(bases, dtype=np.int64)), persistent=False)
        self.bases: Tensor
        self.register_buffer("firsts", torch.from_numpy(rows[self._places].astype(np.int64)), persistent=False)
        self.firsts: Tensor

    def make(self, ids: Tensor) -> Tensor:
        local = ids - self.slot_starts.index_select(0, self.made_columns)
        rows = [self._rows(j, local) for j in range(len(self.tables))]
        spare: list[int | None] = [None] * len(rows)
        if isinstance(self.chosen, TierIndex):
            chosen, rank = self.chosen.locate(local + self.firsts)
            chosen = chosen.bool()
            rows[0] = torch.where(chosen, self.sizes[0] + rank, rows[0])
            for j in range(1, len(rows)):
                spare[j] = self.sizes[j]
                rows[j] = rows[j].masked_fill(chosen, self.sizes[j])
        parts = [
            lookup(table, at, padding_idx=end, sparse=self.sparse)
            for at, table, end in zip(rows, self.tables, spare, strict=True)
        ]
        result = parts[0]
        for part, said in zip(parts[1:], self.parts[1:], strict=True):
            match said.operation:
                case "concat":
                    result = torch.cat([result, part], -1)
                case "add":
                    result = result + part
                case "mult":
                    result = result * (1 + part)
        return result

    def _rows(self, j: int, local: Tensor) -> Tensor:
        functions = [self.functions[j][place] for place in self._places]
        rows = torch.stack([f(column) for f, column in zip(functions, local.unbind(1), strict=True)], 1)
        return rows + self.bases[j]

    def row_tables(self) -> list[nn.Parameter]:
        return [*self.tables, *super().row_tables()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [
            {"params": [table], "lr_factor": part.lr_factor, "l2_factor": FACTOR_DECAY if multiplies else 1.0}
            for j, (part, table) in enumerate(zip(self.parts, self.tables, strict=True))
            if (multiplies := j > 0 and part.operation == "mult") or part.lr_factor != 1
        ]
        apart = {id(group["params"][0]) for group in groups}
        return [{"params": [p for p in self.parameters() if id(p) not in apart]}, *groups]

    def pack_made(self) -> Composed:
        stored = [table.detach()[:n] for n, table in zip(self.sizes, self.tables, strict=True)]
        tables = [
            1 + t if p.operation == "mult" and j else t.clone()
            for j, (p, t) in enumerate(zip(self.parts, stored, strict=True))
        ]
        head = None
        if isinstance(self.chosen, TierIndex):
            rows = sum(self.schema.fields[f].cardinality for f in self.made)
            head = (self.chosen.tiers(rows).bool(), self.tables[0].detach()[self.sizes[0] :].clone())
        operations = [part.operation for part in self.parts[1:]]
        return Composed.pack(self.schema, self.made, self.functions, tables, operations, head=head)


def equal_parts(width: int, parts: int, combine: Operation, init_std: float) -> list[Part]:
    """Parts of one kind, such that entries of the composed rows start with ``init_std``."""
    widths, stds = part_widths(width, parts, combine), factor_stds(init_std, parts, combine)
    return [Part(w, std, combine) for w, std in zip(widths, stds, strict=True)]


def part_widths(width: int, parts: int, combine: Operation) -> list[int]:
    """Numbers per row of each part: all of them, or for concat an equal share, the first parts taking what is left.

    Raises:
        InputError: there are fewer numbers than parts to take them.
    """
    if combine != "concat":
        return [width] * parts
    if width < parts:
        raise InputError(f"a row of {width} numbers cannot be cut into {parts} parts")
    return [width // parts + (j < width % parts) for j in range(parts)]


FACTOR_STD = 0.5
"""Spread around one at which the factors of a product start."""
FACTOR_DECAY = 0.01
"""Weight decay of factors, times that of rows (ours). A factor's gradient passes through the row that it multiplies,
whose numbers are far below one, so decay of the same strength outweighs it and factors tend to one: ids share rows as
in the hashing trick."""


def factor_stds(init_std: float, parts: int, combine: Operation) -> list[float]:
    """Standard deviation of each small table's entries, so that entries of the generated rows have ``init_std``."""
    if parts == 0:
        return []
    if combine == "add":
        return [init_std / parts**0.5] * parts
    if combine == "concat":
        return [init_std] * parts
    return [init_std / (1 + FACTOR_STD**2) ** ((parts - 1) / 2)] + [FACTOR_STD] * (parts - 1)


def composed_nbytes(schema: Schema, width: int, functions: Sequence[FieldFunctions], combine: Operation) -> int:
    """Bytes of the packed layer that a :class:`ComposedTable` of digits becomes, in closed form."""
    total = 0
    for field, made_of in zip(schema.fields, functions, strict=True):
        if made_of:
            widths = part_widths(width, len(made_of), combine)
            total += Composed.bytes_of([f.modulus for f in made_of], widths, combine)
        else:
            total += Dense.bytes_of(field.cardinality, width)
    return total
