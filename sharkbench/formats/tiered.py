"""Rows of unequal precision (or dimension) within one field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Format, replicated
from sharkbench.formats.codec import CHUNK, RowCodec
from sharkbench.formats.gpu.launch import Launch, alignment
from sharkbench.formats.kernels import TIERED, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take_exact
from sharkbench.formats.tier_index import MAX_TIERS, TierIndex


class TierSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: RowCodec
    dimension: int = Field(ge=0, le=1 << 16)
    """Leading numbers that rows of the tier keep, the others being zero; 0 for rows that are dropped altogether."""


class TieredSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tiers: tuple[TierSettings, ...] = Field(min_length=1, max_length=MAX_TIERS)


class Tiered(Format):
    """Each row is stored by the codec of its tier, keeps the tier's leading dimensions, or is dropped (a zero vector).

    Rows lie in the order of their ids, each taking the bytes of its tier; the index that finds them costs 1.5 bits
    a row with two tiers and 2.5 with up to four (:class:`TierIndex`), whatever rows are in which tier.

    Shapes: ``rows`` ``[bytes of all rows]`` uint8; ``index.planes``, ``index.bases`` (absent with a single tier).
    """

    kind = "tiered"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        tiers: Sequence[TierSettings],
        rows: Tensor,
        index: TierIndex | None,
    ) -> None:
        super().__init__(schema, fields, width)
        self.tiers = tuple(tiers)
        self.sizes = tier_sizes(tiers)
        self.register_buffer("rows", rows)
        self.rows: Tensor
        self.index: nn.Module | None = index
        # Global id minus shift is the row, as the index counts them.
        shifts = self.starts.numpy() - self.first_rows[self.column_fields]
        self.register_buffer("shifts", torch.from_numpy(shifts), persistent=False)
        self.shifts: Tensor

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
            dimensions: leading numbers that each tier keeps, all of them where not given.
        """
        kept = dimensions or [table.shape[1]] * len(codecs)
        tiers = [
            TierSettings(codec=c or RowCodec(), dimension=d if c else 0) for c, d in zip(codecs, kept, strict=True)
        ]
        sizes, tier = tier_sizes(tiers), tier.to(torch.int64).cpu()
        index = TierIndex.of(tier, sizes) if len(tiers) > 1 else None
        lengths = torch.tensor(sizes)[tier]
        rows = torch.empty(int(lengths.sum()), dtype=torch.uint8)
        places = lengths.cumsum(0) - lengths
        for t, (said, size) in enumerate(zip(tiers, sizes, strict=True)):
            chosen = (tier == t).nonzero().flatten()
            for members in chosen.split(CHUNK) if size and len(chosen) else ():
                stored = said.codec.encode(table[members, : said.dimension]).cpu().view(torch.uint8)
                rows[places[members].unsqueeze(1) + torch.arange(size)] = stored.view(len(members), size)
        return cls(schema, fields, table.shape[1], tiers, rows, index)

    def lookup(self, ids: Tensor) -> Tensor:
        rows = (ids.to(torch.int64) - self.shifts).flatten()
        tier, address = self._locate(rows)
        out = torch.zeros(len(rows), self.width, device=ids.device)
        for t, said in enumerate(self.tiers):
            members = (tier == t).nonzero().flatten()
            if self.sizes[t] and len(members):
                out[members, : said.dimension] = self._decode(t, address[members])
        return out.view(*ids.shape, self.width)

    def _locate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.index, TierIndex):
            return self.index.locate(rows)
        return torch.zeros_like(rows), rows * self.sizes[0]

    def _stored(self, t: int, address: Tensor) -> Tensor:
        """Stored rows of tier ``t`` at these addresses, as its codec reads them."""
        said, size = self.tiers[t], self.sizes[t]
        stored = self.rows[address.unsqueeze(1) + torch.arange(size, device=address.device)]
        return stored.view(said.codec.stored_dtype)

    def _decode(self, t: int, address: Tensor) -> Tensor:
        return self.tiers[t].codec.decode(self._stored(t, address), self.tiers[t].dimension)

    def programs(self, columns: Columns) -> list[Program]:
        index = self.index if isinstance(self.index, TierIndex) else None
        own: list[int | Tensor] = [self.rows, len(self.tiers)]
        own += [index.planes, index.planes.shape[1], index.bases, index.bases.itemsize] if index else [0, 0, 0, 0]
        for said in self.tiers:
            own += [said.dimension, *said.codec.words(said.dimension)]
        return [self.program(TIERED, columns, own)]

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch]:
        index = self.index if isinstance(self.index, TierIndex) else None
        own = {"rows": self.rows, "shifts": self.shifts}
        # Without an index, with a single tier, the kernel reads neither.
        own |= {"planes": index.planes, "bases": index.bases} if index else {"planes": self.rows, "bases": self.rows}
        said = {
            "sizes": tuple(self.sizes),
            "kept": tuple(t.dimension for t in self.tiers),
            "codecs": tuple(word for t in self.tiers for word in t.codec.words(t.dimension)),
            "align": alignment(self.rows, self.sizes),
        }
        return [Launch.of("tiered_rows", ids, places, out, own, said)]

    def row_tiers(self) -> Tensor:
        """``[R]`` uint8, the tier of each row of ``fields``."""
        total = int(self.cardinalities.sum())
        return self.index.tiers(total) if isinstance(self.index, TierIndex) else torch.zeros(total, dtype=torch.uint8)

    def nbytes_by_field(self) -> dict[str, int]:
        sizes, tiers = torch.tensor(self.sizes), self.row_tiers().split(self.cardinalities.tolist())
        total = {
            self.schema.fields[f].name: int(sizes[part.long()].sum())
            for f, part in zip(self.fields, tiers, strict=True)
        }
        # A block of the index may reach over two fields.
        rest = self.nbytes - sum(total.values())
        return {**total, SHARED: rest} if rest else total

    @property
    def num_parameters(self) -> int:
        counts = torch.bincount(self.row_tiers(), minlength=len(self.tiers)).tolist()
        return sum(n * said.dimension for n, said in zip(counts, self.tiers, strict=True))

    def replicate(self, times: int) -> Self:
        by_field = self.row_tiers().split(self.cardinalities.tolist())
        sizes = torch.tensor(self.sizes)
        pieces = self.rows.split([int(sizes[part.long()].sum()) for part in by_field])
        rows = torch.cat([piece.repeat(times) for piece in pieces])
        index = TierIndex.of(torch.cat([part.repeat(times) for part in by_field]), self.sizes) if self.index else None
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
        fits = (t.codec.is_float or not t.dimension or t.codec.tail < t.dimension for t in said.tiers)
        require(all(fits), kind, "a tier keeps no codes beside its tail")
        total, sizes, index = sum(schema.fields[f].cardinality for f in fields), tier_sizes(said.tiers), None
        names = {"rows"}
        if len(sizes) > 1:
            inner = {n.removeprefix("index."): t for n, t in tensors.items() if n.startswith("index.")}
            index = TierIndex.restore(inner, total, sizes, kind)
            names |= {"index.planes", "index.bases"}
        only(tensors, names, kind)
        length = index.total(total) if index else total * sizes[0]
        made = cls(schema, fields, width, said.tiers, take_exact(tensors, "rows", kind, torch.uint8, (length,)), index)
        for t, tier in enumerate(said.tiers):
            members = (made.row_tiers() == t).nonzero().flatten()
            for chunk in members.split(CHUNK) if sizes[t] and len(members) else ():
                stored = made._stored(t, made._locate(chunk)[1])
                tier.codec.check(stored, len(chunk), tier.dimension, f"format {kind}: tier {t}")
        return made


def tier_sizes(tiers: Sequence[TierSettings]) -> list[int]:
    """Bytes that a row of each tier takes."""
    return [t.codec.row_bytes(t.dimension) if t.dimension else 0 for t in tiers]
