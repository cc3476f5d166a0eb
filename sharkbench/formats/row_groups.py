"""Groups of rows (the popular and the rare, say), each in a format of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, Format, num_rows, replicated
from sharkbench.formats.dense import Dense
from sharkbench.formats.in_tiers import InTiers
from sharkbench.formats.registry import format_of_kind
from sharkbench.formats.restoring import only, read_settings, require
from sharkbench.formats.tier_index import MAX_TIERS, TierIndex


class GroupSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    settings: dict[str, Any]


class RowGroupsSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: tuple[GroupSettings, ...] = Field(min_length=2, max_length=MAX_TIERS)


def schema_of_group(schema: Schema, fields: Sequence[int], counts: Sequence[int]) -> Schema:
    """Schema of one group of the rows of ``fields``, ``counts`` of each field; fields without rows are left out."""
    left = [replace(schema.fields[f], cardinality=n) for f, n in zip(fields, counts, strict=True) if n]
    return replace(schema, fields=tuple(left), frequencies=None)


def check_groups(groups: Tensor, count: int) -> None:
    """Check that ``groups``, the group of each row, names each of ``count`` groups and no other.

    Raises:
        ValueError: a group has no rows, or rows have no group.
    """
    if (named := groups.unique().tolist()) != list(range(count)):
        raise ValueError(f"rows name the groups {named}, there are {count}; each group needs rows, each row a group")


class RowGroups(InTiers):
    """``e_i = part_g(i)[rank(i)]``: an index stores the group of each row, and its rank among the group's rows.

    A group's format serves a schema of its own (:func:`schema_of_group`): the rows of the group, field after field, in
    the order of their ids. For methods that decide per group of rows: fewer weights, or fewer codewords, for rows that
    are seldom read.
    """

    kind = "row_groups"

    def __init__(self, schema: Schema, fields: Sequence[int], parts: Sequence[Format], index: TierIndex) -> None:
        super().__init__(schema, fields, parts[0].width, [0] * len(parts), index)
        self.parts = nn.ModuleList(parts)
        for group, counts in enumerate(zip(*self.tier_counts(), strict=True)):
            present = torch.tensor([n > 0 for n in counts])[self.column_fields]
            # Which columns have rows of the group, and the first row of each column's field.
            firsts = torch.tensor([sum(counts[:f]) for f in self.column_fields.tolist()])[present]
            self.register_buffer(f"columns{group}", present.nonzero().flatten(), persistent=False)
            self.register_buffer(f"firsts{group}", firsts, persistent=False)
        firsts = torch.from_numpy(self.first_rows)[self.column_fields]
        self.register_buffer("shifts", self.starts - firsts, persistent=False)
        self.shifts: Tensor

    @property
    def formats(self) -> list[Format]:
        return list(self.parts)  # type: ignore[arg-type]

    @classmethod
    def pack(cls, schema: Schema, fields: Sequence[int], groups: Tensor, parts: Sequence[Format]) -> Self:
        """The rows of each group in the group's own format.

        Args:
            groups: ``[R]`` integers, the group of each row of ``fields``, one field after the other.
            parts: of each group, over all fields of :func:`schema_of_group`.

        Raises:
            ValueError: a group has no rows, rows have no group, or groups lie within one another.
        """
        check_groups(groups, len(parts))
        if any(part.kind == cls.kind for part in parts):
            raise ValueError("groups lie within one another")
        return cls(schema, fields, parts, TierIndex.of(groups, len(parts)))

    @classmethod
    def bytes_of(cls, rows: int, *parts: int) -> int:
        """Bytes of groups, given the bytes of each, and of the index of all rows."""
        return sum(parts) + TierIndex.bytes_of(rows, len(parts))

    def lookup(self, ids: Tensor) -> Tensor:
        group, rank = self.locate(ids.to(torch.int64) - self.shifts)
        found = torch.empty(*ids.shape, self.width, dtype=torch.float32, device=ids.device)
        for g, part in enumerate(self.formats):
            columns = getattr(self, f"columns{g}")
            mine = group.index_select(1, columns) == g
            # Rows of other groups look up any row of this one, and the result is ignored.
            rows = torch.where(mine, rank.index_select(1, columns), getattr(self, f"firsts{g}"))
            vectors = part.lookup(rows)
            found[:, columns] = torch.where(mine[..., None], vectors, found[:, columns])
        return found

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows = num_rows(schema, fields)
        table, groups = torch.randn(rows, width), torch.arange(rows) % 3 // 2
        sizes = [schema.fields[f].cardinality for f in fields]
        by_field = [torch.bincount(own, minlength=2).tolist() for own in groups.split(sizes)]
        parts: list[Format] = []
        for g, dtype in enumerate(("fp32", "fp16")):
            own = schema_of_group(schema, fields, [counts[g] for counts in by_field])
            parts.append(Dense.pack(own, range(own.num_fields), table[groups == g], dtype))  # type: ignore[arg-type]
        nbytes = cls.bytes_of(rows, *(part.nbytes for part in parts))
        yield Example(
            cls.pack(schema, fields, groups, parts),
            nbytes,
            torch.where(groups[:, None] > 0, table.half().float(), table),
        )

    def nbytes_by_field(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for part in self.formats:
            for name, nbytes in part.nbytes_by_field().items():
                total[name] = total.get(name, 0) + nbytes
        total = {self.schema.fields[f].name: 0 for f in self.fields} | total
        own = [total[self.schema.fields[f].name] for f in self.fields]
        return self.with_shared(own)

    @property
    def num_parameters(self) -> int:
        return sum(part.num_parameters for part in self.formats)

    def replicate(self, times: int) -> Self:
        _, index = self.repeated([None] * len(self.parts), times)
        assert index is not None
        return type(self)(
            replicated(self.schema, times), self.fields, [p.replicate(times) for p in self.formats], index
        )

    def describe(self) -> dict[str, Any]:
        return {"groups": [{"kind": part.kind, "settings": part.describe()} for part in self.formats]}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(RowGroupsSettings, settings, cls.kind), cls.kind
        require(all(group.kind != kind for group in said.groups), kind, "groups lie within one another")
        sizes = [schema.fields[f].cardinality for f in fields]
        index, names = TierIndex.restore(tensors, "index", sum(sizes), len(said.groups), kind)
        by_field = [
            torch.bincount(own.long(), minlength=len(said.groups)).tolist()
            for own in index.tiers(sum(sizes)).split(sizes)
        ]
        parts = []
        for g, (group, counts) in enumerate(zip(said.groups, zip(*by_field, strict=True), strict=True)):
            require(sum(counts) > 0, kind, "a group has no rows")
            prefix = f"parts.{g}."
            mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            names |= {f"{prefix}{name}" for name in mine}
            own = schema_of_group(schema, fields, counts)
            parts.append(format_of_kind(group.kind).restore(own, range(own.num_fields), width, group.settings, mine))
        only(tensors, names, kind)
        return cls(schema, fields, parts, index)
