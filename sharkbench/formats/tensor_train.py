"""A table as a product of small cores (TT-Rec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, num_rows, replicated
from sharkbench.formats.codec import FLOATS, FloatName
from sharkbench.formats.index import MAX_ROWS
from sharkbench.formats.kernels import TENSOR_TRAIN, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact

MOST_CORES = 8
MOST_NUMBERS = 1 << 20
"""Bound on the intermediate values of one row, ``columns so far x rank``."""


class TensorTrainSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[PositiveInt, ...] = Field(min_length=2, max_length=MOST_CORES)
    columns: tuple[PositiveInt, ...]
    ranks: tuple[PositiveInt, ...]
    """Ranks between the cores, one fewer than cores."""


class TensorTrain(Format):
    """``e_i = G_1[i_1] G_2[i_2] ... G_K[i_K]``, ``i_k`` being the digits of the row in mixed radix ``rows``.

    The first digit is the most significant. ``G_k[i_k]`` is ``r_{k-1} x (d_k r_k)``; the product of all ``d_k`` is the
    width. The rows of all fields of the format share the cores, one field after the other; give a field a format of its
    own for cores of its own (Yin et al., MLSys 2021; Oseledets, 2011).

    Shapes: ``core{k}`` ``[n_k, r_{k-1}, d_k, r_k]`` float32, float16 or bfloat16, ``r_0 = r_K = 1``; at least as many
    combinations of digits as rows.
    """

    kind = "tensor_train"

    def __init__(self, schema: Schema, fields: Sequence[int], cores: Sequence[Tensor]) -> None:
        super().__init__(schema, fields, prod(core.shape[2] for core in cores))
        for k, core in enumerate(cores):
            self.register_buffer(f"core{k}", core)
        self.num_cores = len(cores)
        self.register_buffer("firsts", torch.from_numpy(self.first_rows[self.column_fields]), persistent=False)
        self.firsts: Tensor

    @property
    def cores(self) -> list[Tensor]:
        return [getattr(self, f"core{k}") for k in range(self.num_cores)]

    @classmethod
    def pack(cls, schema: Schema, fields: Sequence[int], cores: Sequence[Tensor], dtype: FloatName = "fp32") -> Self:
        """Pack trained ``cores[k]`` ``[n_k, r_{k-1}, d_k, r_k]``."""
        return cls(schema, fields, [core.detach().to(FLOATS[dtype]).contiguous() for core in cores])

    @classmethod
    def bytes_of(
        cls, rows: Sequence[int], columns: Sequence[int], ranks: Sequence[int], dtype: FloatName = "fp32"
    ) -> int:
        """Bytes of the cores with these factors of rows and columns, ``ranks`` being those between the cores."""
        cores = zip(rows, (1, *ranks), columns, (*ranks, 1), strict=True)
        return sum(prod(core) for core in cores) * FLOATS[dtype].itemsize

    def lookup(self, ids: Tensor) -> Tensor:
        rows = (ids.to(torch.int64) - self.starts + self.firsts).flatten()
        return tensor_train_rows(rows, self.cores).view(*ids.shape, self.width)

    def programs(self, columns: Columns) -> list[Program] | None:
        if self.core0.dtype != torch.float32:
            return None
        own: list[int | Tensor] = [self.num_cores, max(_working(self.cores))]
        following = prod(core.shape[0] for core in self.cores)
        for core in self.cores:
            following //= core.shape[0]
            own += [core, *core.shape[1:], following]
        return [self.program(TENSOR_TRAIN, columns, own)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows = num_rows(schema, fields)
        factors, columns = (-(-rows // 4), 2, 2), (1, width, 1)
        for rank in (1, 3):
            shapes = zip(factors, (1, rank, rank), columns, (rank, rank, 1), strict=True)
            cores = [torch.randn(*shape) for shape in shapes]
            whole = torch.einsum("aip,bpjq,cqk->abcijk", cores[0][:, 0, :, :], cores[1], cores[2][..., 0])
            as_stored = whole.reshape(-1, width)[:rows]
            yield Example(cls.pack(schema, fields, cores), cls.bytes_of(factors, columns, (rank, rank)), as_stored)

    def nbytes_by_field(self) -> dict[str, int]:
        return {self.schema.fields[self.fields[0]].name if len(self.fields) == 1 else SHARED: self.nbytes}

    @property
    def num_parameters(self) -> int:
        return sum(core.numel() for core in self.cores)

    def replicate(self, times: int) -> Self:
        cores = self.cores
        # The most significant digit counts further. Of several fields the copies lie elsewhere, at the same cost.
        return type(self)(replicated(self.schema, times), self.fields, [cores[0].repeat(times, 1, 1, 1), *cores[1:]])

    def describe(self) -> dict[str, Any]:
        shapes = [core.shape for core in self.cores]
        return {
            "rows": [shape[0] for shape in shapes],
            "columns": [shape[2] for shape in shapes],
            "ranks": [shape[3] for shape in shapes[:-1]],
        }

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(TensorTrainSettings, settings, cls.kind), cls.kind
        count = len(said.rows)
        require(len(said.columns) == count and len(said.ranks) == count - 1, kind, "factors do not fit the cores")
        require(prod(said.columns) == width, kind, "column factors do not multiply to the row's width")
        total = sum(schema.fields[f].cardinality for f in fields)
        require(total <= prod(said.rows) < MAX_ROWS**2, kind, "row factors do not reach all rows")
        ranks, first = [1, *said.ranks, 1], take(tensors, "core0", kind)
        require(first.dtype in FLOATS.values(), kind, "cores are not of a float type")
        cores = []
        for k in range(count):
            shape = (said.rows[k], ranks[k], said.columns[k], ranks[k + 1])
            cores.append(take_exact(tensors, f"core{k}", kind, first.dtype, shape))
        only(tensors, {f"core{k}" for k in range(count)}, kind)
        require(max(_working(cores)) <= MOST_NUMBERS, kind, "ranks are too large")
        return cls(schema, fields, cores)


def tensor_train_rows(rows: Tensor, cores: Sequence[Tensor]) -> Tensor:
    """``[N]`` int64 rows to ``[N, width]``; differentiable in the cores, so that training and serving share it."""
    digits = []
    for core in reversed(cores):
        digits.append(rows % core.shape[0])
        rows = torch.div(rows, core.shape[0], rounding_mode="floor")
    product = cores[0].index_select(0, digits[-1]).float().squeeze(1)  # [N, d, r]
    for core, digit in zip(cores[1:], reversed(digits[:-1]), strict=True):
        factor = core.index_select(0, digit).float()
        product = torch.bmm(product, factor.flatten(2)).unflatten(2, factor.shape[2:]).flatten(1, 2)
    return product.squeeze(2)


def _working(cores: Sequence[Tensor]) -> list[int]:
    """Intermediate values of one row after each core."""
    sizes, columns = [], 1
    for core in cores:
        columns *= core.shape[2]
        sizes.append(columns * core.shape[3])
    return sizes
