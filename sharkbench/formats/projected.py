"""Short rows times a matrix: mixed dimensions, and low rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, replicated
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.kernels import PROJECTED, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact


class GroupSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    dimension: int = Field(ge=1, le=1 << 16)
    projected: bool
    bias: bool


class ProjectedSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: RowCodec
    groups: tuple[GroupSettings, ...] = Field(min_length=1)
    group_of: tuple[int, ...]


class Projected(Format):
    """``e_i = r_i P_g + b_g``: row ``r_i`` of the group's own dimension, times the group's matrix.

    A group is one field or several. Mixed dimensions: a group per field (or per dimension). Low rank: one group of all
    fields. A group with rows of the full width may have no matrix, and any group may have no bias.

    Shapes: ``rows{g}`` ``[R_g, ...]`` as ``codec`` stores rows of ``d_g`` values, the fields of the group one after the
    other; ``matrix{g}`` ``[d_g, width]`` float32; ``bias{g}`` ``[width]`` float32.
    """

    kind = "projected"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        codec: RowCodec,
        group_of: Sequence[int],
        dimensions: Sequence[int],
        rows: Sequence[Tensor],
        matrices: Sequence[Tensor | None],
        biases: Sequence[Tensor | None],
    ) -> None:
        super().__init__(schema, fields, width)
        self.codec, self.group_of, self.dimensions = codec, tuple(group_of), tuple(dimensions)
        for g, (row, matrix, bias) in enumerate(zip(rows, matrices, biases, strict=True)):
            self.register_buffer(f"rows{g}", row)
            self.register_buffer(f"matrix{g}", matrix)
            self.register_buffer(f"bias{g}", bias)

    def _group(self, g: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return getattr(self, f"rows{g}"), getattr(self, f"matrix{g}"), getattr(self, f"bias{g}")

    def _members(self, g: int) -> list[int]:
        """Positions in ``fields`` of the group's fields."""
        return [i for i, group in enumerate(self.group_of) if group == g]

    @property
    def group_first_rows(self) -> np.ndarray:
        """``[len(fields)]``: each field's first row within the rows of its group."""
        firsts = np.zeros(len(self.fields), dtype=np.int64)
        for g in range(len(self.dimensions)):
            members = self._members(g)
            firsts[members] = np.concatenate([[0], np.cumsum(self.cardinalities[members])[:-1]])
        return firsts

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        rows: Sequence[Tensor],
        matrices: Sequence[Tensor | None],
        group_of: Sequence[int] | None = None,
        biases: Sequence[Tensor | None] | None = None,
        codec: RowCodec | None = None,
        width: int | None = None,
    ) -> Self:
        """Pack short rows.

        Args:
            rows: one tensor ``[R_g, d_g]`` per group.
            matrices: ``[d_g, width]`` per group, or ``None`` where ``d_g`` is the width.
            group_of: group of each field; a group per field where not given.
            biases: ``[width]`` per group.
            width: needed only where no group has a matrix.
        """
        codec = codec or RowCodec()
        width = width or next((m.shape[1] for m in matrices if m is not None), rows[0].shape[1])
        return cls(
            schema,
            fields,
            width,
            codec,
            range(len(rows)) if group_of is None else group_of,
            [r.shape[1] for r in rows],
            [codec.encode(r) for r in rows],
            [None if m is None else m.detach().float().contiguous() for m in matrices],
            [None if b is None else b.detach().float().contiguous() for b in biases or [None] * len(rows)],
        )

    @classmethod
    def bytes_of(
        cls,
        rows: Sequence[int],
        dimensions: Sequence[int],
        width: int,
        codec: RowCodec | None = None,
        *,
        matrices: Sequence[bool] | None = None,
        biases: Sequence[bool] | None = None,
    ) -> int:
        """Bytes of groups with so many rows of these dimensions, and of their matrices and biases.

        Args:
            width: values of a served row.
            codec: how the short rows are stored; fp32 where not given.
            matrices: groups that have one; those with fewer dimensions than ``width`` where not given.
            biases: groups that have one; none where not given.
        """
        codec = codec or RowCodec()
        projected = [d < width for d in dimensions] if matrices is None else matrices
        shifted = [False] * len(rows) if biases is None else biases
        return sum(
            n * codec.row_bytes(d) + 4 * width * (d * has_matrix + has_bias)
            for n, d, has_matrix, has_bias in zip(rows, dimensions, projected, shifted, strict=True)
        )

    def lookup(self, ids: Tensor) -> Tensor:
        local = ids.to(torch.int64) - self.starts
        firsts = torch.from_numpy(self.group_first_rows[self.column_fields]).to(ids.device)
        out = torch.empty(*ids.shape, self.width, dtype=torch.float32, device=ids.device)
        group_of = np.array(self.group_of)[self.column_fields]
        for g, dimension in enumerate(self.dimensions):
            columns = torch.from_numpy(np.flatnonzero(group_of == g)).to(ids.device)
            rows, matrix, bias = self._group(g)
            chosen = (local[:, columns] + firsts[columns]).flatten()
            vectors = self.codec.decode(rows.index_select(0, chosen), dimension)
            if matrix is not None:
                vectors = vectors @ matrix
            if bias is not None:
                vectors = vectors + bias
            out[:, columns] = vectors.view(len(ids), len(columns), self.width)
        return out

    def programs(self, columns: Columns) -> list[Program]:
        firsts, groups = self.group_first_rows, []
        for i, g in enumerate(self.group_of):
            rows, matrix, bias = self._group(g)
            addresses = [0 if t is None else t.data_ptr() for t in (rows, matrix, bias)]
            groups.append([*addresses, self.dimensions[g], int(firsts[i]), *self.codec.words(self.dimensions[g])])
        held = [t for g in range(len(self.dimensions)) for t in self._group(g) if t is not None]
        return [self.program(PROJECTED, columns, [torch.tensor(groups), max(self.dimensions)], held)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        sizes = [schema.fields[f].cardinality for f in fields]
        dimensions = [min(width, 1 + 2 * i) for i in range(len(fields))]
        rows = [torch.randn(n, d) for n, d in zip(sizes, dimensions, strict=True)]
        matrices = [torch.randn(d, width) if d < width else None for d in dimensions]
        as_stored = torch.cat([r if m is None else r @ m for r, m in zip(rows, matrices, strict=True)])
        packed = cls.pack(schema, fields, rows, matrices, width=width)
        yield Example(packed, cls.bytes_of(sizes, dimensions, width), as_stored)
        short, matrix, bias = torch.randn(sum(sizes), 2), torch.randn(2, width), torch.randn(width)
        packed = cls.pack(schema, fields, [short], [matrix], [0] * len(fields), [bias])
        nbytes = cls.bytes_of([sum(sizes)], [2], width, matrices=[True], biases=[True])
        yield Example(packed, nbytes, short @ matrix + bias)

    def nbytes_by_field(self) -> dict[str, int]:
        total, shared = {}, 0
        for g, dimension in enumerate(self.dimensions):
            members = self._members(g)
            extra = sum(t.nbytes for t in self._group(g)[1:] if t is not None)
            for i in members:
                alone = extra if len(members) == 1 else 0
                own = int(self.cardinalities[i]) * self.codec.row_bytes(dimension)
                total[self.schema.fields[self.fields[i]].name] = own + alone
            shared += extra if len(members) > 1 else 0
        return {**total, SHARED: shared} if shared else total

    @property
    def num_parameters(self) -> int:
        total = 0
        for g, dimension in enumerate(self.dimensions):
            rows, matrix, bias = self._group(g)
            total += len(rows) * dimension + sum(t.numel() for t in (matrix, bias) if t is not None)
        return total

    def replicate(self, times: int) -> Self:
        groups = [self._group(g) for g in range(len(self.dimensions))]
        rows = []
        for g, (stored, _, _) in enumerate(groups):
            parts = stored.split(self.cardinalities[self._members(g)].tolist())
            rows.append(torch.cat([part.repeat(times, 1) for part in parts]))
        matrices, biases = [m for _, m, _ in groups], [b for _, _, b in groups]
        schema = replicated(self.schema, times)
        return type(self)(
            schema, self.fields, self.width, self.codec, self.group_of, self.dimensions, rows, matrices, biases
        )

    def describe(self) -> dict[str, Any]:
        groups = [
            {"dimension": d, "projected": self._group(g)[1] is not None, "bias": self._group(g)[2] is not None}
            for g, d in enumerate(self.dimensions)
        ]
        return {"codec": self.codec.model_dump(mode="json"), "groups": groups, "group_of": list(self.group_of)}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(ProjectedSettings, settings, cls.kind), cls.kind
        require(len(said.group_of) == len(fields), kind, "groups do not fit the fields")
        require(set(said.group_of) == set(range(len(said.groups))), kind, "a group has no field, or does not exist")
        rows: list[Tensor] = []
        matrices: list[Tensor | None] = []
        biases: list[Tensor | None] = []
        names = set()
        for g, group in enumerate(said.groups):
            count = sum(schema.fields[f].cardinality for f, of in zip(fields, said.group_of, strict=True) if of == g)
            require(group.projected or group.dimension == width, kind, f"group {g} is short and has no matrix")
            stored = take(tensors, f"rows{g}", kind)
            rows.append(said.codec.check(stored, count, group.dimension, f"format {kind}: 'rows{g}'"))
            shapes = {"matrix": (group.dimension, width), "bias": (width,)}
            wanted = {"matrix": group.projected, "bias": group.bias}
            made = {
                n: take_exact(tensors, f"{n}{g}", kind, torch.float32, shapes[n]) if wanted[n] else None for n in shapes
            }
            matrices.append(made["matrix"])
            biases.append(made["bias"])
            names |= {f"rows{g}"} | {f"{n}{g}" for n, has in wanted.items() if has}
        only(tensors, names, kind)
        dimensions = [group.dimension for group in said.groups]
        return cls(schema, fields, width, said.codec, said.group_of, dimensions, rows, matrices, biases)
