"""One circular array that all rows are read from (ROBE)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, replicated
from sharkbench.formats.codec import FLOATS, FloatName
from sharkbench.formats.index import MAX_ROWS, mix
from sharkbench.formats.kernels import SHARED_ARRAY, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact


class SharedArraySettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    block: int = Field(ge=1, le=1 << 16)
    signed: bool


class SharedArray(Format):
    """``e_i[k] = g(i, c) M[(h(i, c) + k mod Z) mod |M|]`` with the chunk ``c = k // Z``.

    A row is ``ceil(width / Z)`` pieces of ``Z`` neighbouring values of one array ``M``; a hash of the global id and the
    chunk gives the position of each piece. ``g`` is a sign from the same hash, or 1 (Desai, Chou and Shrivastava, MLSys
    2022; the mixing hash is ours, since an affine one keeps the distance between the chunks of all rows).

    Shapes: ``array`` ``[|M|]`` float32, float16 or bfloat16; ``seed`` ``[1]`` int64.
    """

    kind = "shared_array"

    def __init__(
        self, schema: Schema, fields: Sequence[int], width: int, array: Tensor, block: int, seed: Tensor, signed: bool
    ) -> None:
        super().__init__(schema, fields, width)
        self.block, self.signed = int(block), bool(signed)
        self.register_buffer("array", array)
        self.array: Tensor
        self.register_buffer("seed", seed)
        self.seed: Tensor

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        array: Tensor,
        block: int,
        seed: int,
        signed: bool = False,
        dtype: FloatName = "fp32",
    ) -> Self:
        """Pack ``array`` ``[|M|]``, trained with :func:`places` of the same ``block`` and ``seed``."""
        stored = array.detach().to(FLOATS[dtype]).contiguous()
        return cls(schema, fields, width, stored, block, torch.tensor([seed], dtype=torch.int64), signed)

    @classmethod
    def bytes_of(cls, numbers: int, dtype: FloatName = "fp32") -> int:
        """Bytes of an array of so many values, and of the seed."""
        return numbers * FLOATS[dtype].itemsize + 8

    def lookup(self, ids: Tensor) -> Tensor:
        at, sign = places(ids.to(torch.int64), self.width, self.block, self.seed, len(self.array))
        vectors = self.array[at].float()
        return torch.where(sign, -vectors, vectors) if self.signed else vectors

    def programs(self, columns: Columns) -> list[Program]:
        dtype = list(FLOATS.values()).index(self.array.dtype)
        own: list[int | Tensor] = [self.array, dtype, len(self.array), self.block, int(self.seed), int(self.signed)]
        return [self.program(SHARED_ARRAY, columns, own)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        for block, signed in ((1, False), (4, True), (width + 3, True)):
            packed = cls.pack(schema, fields, width, torch.randn(41), block, 987654321, signed)
            yield Example(packed, cls.bytes_of(41))

    def nbytes_by_field(self) -> dict[str, int]:
        return {SHARED: self.nbytes}

    @property
    def num_parameters(self) -> int:
        return len(self.array)

    def replicate(self, times: int) -> Self:
        schema = replicated(self.schema, times)
        array = self.array.repeat(times)
        return type(self)(schema, self.fields, self.width, array, self.block, self.seed, self.signed)

    def describe(self) -> dict[str, Any]:
        return {"block": self.block, "signed": self.signed}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(SharedArraySettings, settings, cls.kind), cls.kind
        only(tensors, {"array", "seed"}, kind)
        array, seed = take(tensors, "array", kind), take_exact(tensors, "seed", kind, torch.int64, (1,))
        require(array.dim() == 1 and array.dtype in FLOATS.values(), kind, "'array' is not a row of floats")
        require(0 < len(array) < MAX_ROWS, kind, "'array' is empty or too long")
        take_exact(tensors, "array", kind, array.dtype, (len(array),))
        return cls(schema, fields, width, array, said.block, seed, said.signed)


def places(ids: Tensor, width: int, block: int, seed: int | Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Positions of each row's values in an array of ``size``; training and serving share it.

    Args:
        ids: int64 global ids, of any shape ``[...]``.

    Returns:
        ``[..., width]`` int64 positions, and ``[..., width]`` bool, where the sign is negative.
    """
    chunks = -(-width // block)
    hashes = mix(ids.unsqueeze(-1) * chunks + torch.arange(chunks, device=ids.device), seed)
    first = ((hashes >> 32 & 0xFFFFFFFF) * size) >> 32
    within = torch.arange(width, device=ids.device)
    at = (first[..., within // block] + within % block) % size
    return at, (hashes & 1).bool()[..., within // block]
