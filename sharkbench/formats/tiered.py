"""Rows of unequal precision (or dimension) within one field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, num_rows, replicated
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.gpu.launch import Launch, alignment
from sharkbench.formats.in_tiers import InTiers
from sharkbench.formats.kernels import TIERED, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take
from sharkbench.formats.tier_index import MAX_TIERS, TierIndex


class TierSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: RowCodec
    dimension: int = Field(ge=0, le=1 << 16)
    """Leading values that rows of the tier keep, the others being zero; 0 for rows that are dropped."""


class TieredSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tiers: tuple[TierSettings, ...] = Field(min_length=1, max_length=MAX_TIERS)


class Tiered(InTiers):
    """Each row is stored by the codec of its tier, keeps the tier's leading dimensions, or is dropped (a zero vector).

    The rows of a tier lie together, in the order of their ids, so each begins at a multiple of its size; the index that
    finds them costs 1.5 bits a row with two tiers, 2.75 with three and 3 with four (:class:`TierIndex`), whatever rows
    are in which tier.

    Shapes: ``rows{t}`` the rows of tier ``t`` as its codec stores them, ``[R_t, dimension]`` floats or
    ``[R_t, row_bytes]`` uint8, absent where the tier drops its rows; ``index.*`` as in :class:`TierIndex`, absent
    with a single tier.
    """

    kind = "tiered"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        tiers: Sequence[TierSettings],
        rows: Sequence[Tensor | None],
        index: TierIndex | None,
    ) -> None:
        super().__init__(schema, fields, width, tier_sizes(tiers), index)
        self.tiers = tuple(tiers)
        for t, stored in enumerate(rows):
            if stored is not None:
                self.register_buffer(f"rows{t}", stored)
        # Global id minus shift is the row, as the index counts them.
        shifts = self.starts.numpy() - self.first_rows[self.column_fields]
        self.register_buffer("shifts", torch.from_numpy(shifts), persistent=False)
        self.shifts: Tensor

    @property
    def rows(self) -> list[Tensor | None]:
        """The stored rows of each tier; ``None`` where it drops them."""
        return [getattr(self, f"rows{t}", None) for t in range(len(self.tiers))]

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        table: Tensor,
        tier: Tensor,
        codecs: Sequence[RowCodec | None],
        dimensions: Sequence[int] | None = None,
    ) -> Self:
        """Pack the rows of ``fields``, one field after the other.

        Args:
            table: ``[R, width]``.
            tier: ``[R]`` integers, which of ``codecs`` stores the row.
            codecs: at most 8; ``None`` drops the row.
            dimensions: leading values that each tier keeps, all of them where not given.
        """
        tiers = _tiers(codecs, dimensions or [table.shape[1]] * len(codecs))
        rows: list[Tensor | None] = []
        for t, said in enumerate(tiers):
            members = (tier == t).nonzero().flatten().to(table.device)
            rows.append(said.codec.encode(table[members, : said.dimension]).cpu() if said.dimension else None)
        index = TierIndex.of(tier.cpu(), len(tiers)) if len(tiers) > 1 else None
        return cls(schema, fields, table.shape[1], tiers, rows, index)

    @classmethod
    def bytes_of(
        cls,
        rows: Sequence[int],
        width: int,
        codecs: Sequence[RowCodec | None],
        dimensions: Sequence[int] | None = None,
    ) -> int:
        """Bytes of so many rows in each tier, and of the index of tiers.

        Args:
            width: values per row.
            codecs, dimensions: of each tier, as for :meth:`pack`.
        """
        sizes = tier_sizes(_tiers(codecs, dimensions or [width] * len(codecs)))
        return sum(n * size for n, size in zip(rows, sizes, strict=True)) + TierIndex.bytes_of(sum(rows), len(sizes))

    def lookup(self, ids: Tensor) -> Tensor:
        asked = (ids.to(torch.int64) - self.shifts).flatten()
        tier, rank = self.locate(asked)
        out = torch.zeros(len(asked), self.width, dtype=torch.float32, device=ids.device)
        for t, (said, stored) in enumerate(zip(self.tiers, self.rows, strict=True)):
            members = (tier == t).nonzero().flatten()
            if stored is not None and len(members):
                out[members, : said.dimension] = said.codec.decode(stored[rank[members]], said.dimension)
        return out.view(*ids.shape, self.width)

    def programs(self, columns: Columns) -> list[Program]:
        own = self.index_words
        for said, stored in zip(self.tiers, self.rows, strict=True):
            own += [0 if stored is None else stored, said.dimension, *said.codec.words(said.dimension)]
        return [self.program(TIERED, columns, own)]

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch] | None:
        # The kernel reads no index where there is a single tier, and no rows that are dropped.
        planes, ranks, firsts = self.index.arrays if self.index else (places, places, places)
        tables = tuple(places if stored is None else stored for stored in self.rows)
        own: dict[str, Tensor | tuple[Tensor, ...]]
        own = {"tables": tables, "shifts": self.shifts, "planes": planes, "ranks": ranks, "firsts": firsts}
        said = {
            "sizes": tuple(self.sizes),
            "kept": tuple(t.dimension for t in self.tiers),
            "codecs": tuple(word for t in self.tiers for word in t.codec.words(t.dimension)),
            "aligns": tuple(alignment(rows, [size]) for rows, size in zip(tables, self.sizes, strict=True)),
        }
        return [Launch.of("tiered_rows", ids, places, out, own, said)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows = torch.randn(num_rows(schema, fields), width)
        codecs = [RowCodec(), RowCodec(dtype="int8", tail=1), None, RowCodec(dtype="fp16")]
        for count in (1, 2, 4):
            tier, kept = torch.randint(count, (len(rows),)), [max(1, width // (1 + t)) for t in range(count)]
            as_stored = torch.zeros_like(rows)
            for t, (codec, own) in enumerate(zip(codecs[:count], kept, strict=True)):
                if codec is not None and (tier == t).any():
                    as_stored[tier == t, :own] = codec.decode(codec.encode(rows[tier == t, :own]), own)
            counts = torch.bincount(tier, minlength=count).tolist()
            packed = cls.pack(schema, fields, rows, tier, codecs[:count], kept)
            yield Example(packed, cls.bytes_of(counts, width, codecs[:count], kept), as_stored)

    def nbytes_by_field(self) -> dict[str, int]:
        return self.with_shared([0] * len(self.fields))

    @property
    def num_parameters(self) -> int:
        counts = torch.bincount(self.row_tiers(), minlength=len(self.tiers)).tolist()
        return sum(n * said.dimension for n, said in zip(counts, self.tiers, strict=True))

    def replicate(self, times: int) -> Self:
        rows, index = self.repeated(self.rows, times)
        return type(self)(replicated(self.schema, times), self.fields, self.width, self.tiers, rows, index)

    def describe(self) -> dict[str, Any]:
        return {"tiers": [said.model_dump(mode="json") for said in self.tiers]}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(TieredSettings, settings, cls.kind), cls.kind
        require(all(t.dimension <= width for t in said.tiers), kind, "a tier keeps more numbers than a row has")
        fits = (t.codec.is_float or not t.dimension or t.codec.tail <= t.dimension for t in said.tiers)
        require(all(fits), kind, "a tier's tail has more numbers than its rows")
        total, index, counts = sum(schema.fields[f].cardinality for f in fields), None, []
        names: set[str] = set()
        if len(said.tiers) > 1:
            index, names = TierIndex.restore(tensors, "index", total, len(said.tiers), kind)
        counts = index.counts(total) if index else [total]
        rows: list[Tensor | None] = [None] * len(said.tiers)
        for t, (tier, count) in enumerate(zip(said.tiers, counts, strict=True)):
            if tier.dimension:
                stored = take(tensors, f"rows{t}", kind)
                rows[t] = tier.codec.check(stored, count, tier.dimension, f"format {kind}: 'rows{t}'")
                names.add(f"rows{t}")
        only(tensors, names, kind)
        return cls(schema, fields, width, said.tiers, rows, index)


def _tiers(codecs: Sequence[RowCodec | None], dimensions: Sequence[int]) -> list[TierSettings]:
    return [
        TierSettings(codec=c or RowCodec(), dimension=d if c else 0) for c, d in zip(codecs, dimensions, strict=True)
    ]


def tier_sizes(tiers: Sequence[TierSettings]) -> list[int]:
    """Bytes of a row of each tier."""
    return [t.codec.row_bytes(t.dimension) if t.dimension else 0 for t in tiers]
