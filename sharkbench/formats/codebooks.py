"""Codes that index codewords: product and additive quantization, clustering, value codebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Example, num_rows, replicated
from sharkbench.formats.codec import CHUNK, RowCodec
from sharkbench.formats.in_tiers import InTiers
from sharkbench.formats.kernels import CODEBOOKS, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact
from sharkbench.formats.tier_index import MAX_TIERS, TierIndex

Combine = Literal["concat", "add"]


class CodebookSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[int, ...] = Field(min_length=1, max_length=1 << 12)
    codewords: int = Field(ge=1, le=1 << 16)
    bits: tuple[int, ...] = Field(min_length=1, max_length=MAX_TIERS)
    combine: Combine
    shared: bool
    per_field: bool
    codec: RowCodec


class Codebooks(InTiers):
    """``e_i = C_0[c_i0] ++ C_1[c_i1] ++ ...`` (product) or their sum (additive), ``c_ij`` being codes of a few bits.

    ============================ ==============================================================
    product quantization         ``m`` parts of ``width / m`` columns, concat
    additive quantization        ``m`` parts of full width, add
    clustering                   one part of full width
    value codebook               one part per column, one codebook shared by all parts
    ============================ ==============================================================

    Rows may be in tiers that use only the first codewords, with fewer bits per code. The codes of a row are packed in
    little-endian order and padded to whole bytes.

    Shapes: ``codes{t}`` ``[rows of tier t, bytes]`` uint8; ``codebook{j}`` ``[K, ...]`` rows as ``codec`` stores them,
    or ``[fields * K, ...]`` with a codebook per field; ``index.*`` as in :class:`TierIndex`, with more than one tier.
    """

    kind = "codebooks"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        settings: CodebookSettings,
        codes: Sequence[Tensor],
        books: Sequence[Tensor],
        index: TierIndex | None,
    ) -> None:
        super().__init__(schema, fields, _width(settings), code_bytes(settings), index)
        self.settings = settings
        for t, stored in enumerate(codes):
            self.register_buffer(f"codes{t}", stored)
        for j, book in enumerate(books):
            self.register_buffer(f"codebook{j}", book)
        self.register_buffer("firsts", torch.from_numpy(self.first_rows[self.column_fields]), persistent=False)
        self.firsts: Tensor

    @property
    def codes(self) -> list[Tensor]:
        """Packed codes of each tier."""
        return [getattr(self, f"codes{t}") for t in range(len(self.sizes))]

    @property
    def books(self) -> list[Tensor]:
        return [getattr(self, f"codebook{j}") for j in range(_num_books(self.settings))]

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        codes: Tensor,
        codebooks: Sequence[Tensor],
        combine: Combine = "concat",
        *,
        shared: bool = False,
        per_field: bool = False,
        tiers: tuple[Tensor, Sequence[int]] | None = None,
        codec: RowCodec | None = None,
    ) -> Self:
        """Pack the codes of the rows of ``fields``, one field after the other.

        Args:
            codes: ``[R, parts]`` integers below ``K``.
            codebooks: one per part, ``[K, width of the part]``, or the one that all parts share.
            shared: all parts use the one codebook.
            per_field: a codebook is ``[len(fields) * K, ...]``, the codewords of one field after the other.
            tiers: ``([R] tier of each row, bits of a code in each tier)``; a tier of ``b`` bits may use the first
                ``2^b`` codewords. Just enough bits for ``K`` where not given.
            codec: how codewords are stored; fp32 where not given.
        """
        codec = codec or RowCodec()
        codewords = len(codebooks[0]) // (len(fields) if per_field else 1)
        parts = codes.shape[1]
        books = list(codebooks) * parts if shared else list(codebooks)
        tier, bits = tiers or (torch.zeros(len(codes), dtype=torch.int64), [max(1, (codewords - 1).bit_length())])
        settings = CodebookSettings(
            widths=tuple(book.shape[1] for book in books),
            codewords=codewords,
            bits=tuple(bits),
            combine=combine,
            shared=shared,
            per_field=per_field,
            codec=codec,
        )
        packed = []
        for t, (size, width) in enumerate(zip(code_bytes(settings), bits, strict=True)):
            own = codes[(tier == t).nonzero().flatten()]
            stored = torch.empty(len(own), size, dtype=torch.uint8)
            for start in range(0, len(own), CHUNK):
                stored[start : start + CHUNK] = _pack_codes(own[start : start + CHUNK], width)
            packed.append(stored)
        index = TierIndex.of(tier, len(bits)) if len(bits) > 1 else None
        return cls(schema, fields, settings, packed, [codec.encode(book) for book in codebooks], index)

    @classmethod
    def bytes_of(
        cls,
        rows: Sequence[int],
        widths: Sequence[int],
        codewords: int,
        bits: Sequence[int] | None = None,
        *,
        shared: bool = False,
        fields: int = 1,
        codec: RowCodec | None = None,
    ) -> int:
        """Bytes of the codes of so many rows in each tier, of the index of tiers, and of the codebooks.

        Args:
            widths: width of a codeword of each part; that of a row where parts are added.
            codewords: of a part.
            bits: of a code in each tier; just enough for ``codewords`` where not given.
            shared: all parts use one codebook.
            fields: number of fields with codebooks of their own; 1 where all fields share them.
            codec: how codewords are stored; fp32 where not given.
        """
        codec = codec or RowCodec()
        bits = bits or [max(1, (codewords - 1).bit_length())]
        codes = sum(n * -(-len(widths) * b // 8) for n, b in zip(rows, bits, strict=True))
        books = codewords * fields * sum(codec.row_bytes(w) for w in (widths[:1] if shared else widths))
        return codes + TierIndex.bytes_of(sum(rows), len(bits)) + books

    def lookup(self, ids: Tensor) -> Tensor:
        codes = self._codes((ids.to(torch.int64) - self.starts + self.firsts).flatten())
        if self.settings.per_field:
            fields = torch.from_numpy(self.column_fields).to(ids.device).expand(ids.shape).reshape(-1, 1)
            codes = codes + fields * self.settings.codewords
        parts, books = [], self.books
        for j, width in enumerate(self.settings.widths):
            stored = books[0 if self.settings.shared else j].index_select(0, codes[:, j])
            parts.append(self.settings.codec.decode(stored, width))
        if self.settings.combine == "concat":
            return torch.cat(parts, 1).view(*ids.shape, self.width)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.view(*ids.shape, self.width)

    def _codes(self, rows: Tensor) -> Tensor:
        """``[N, parts]`` int64 codes of these rows."""
        parts = len(self.settings.widths)
        if not self.index:
            return _unpack_codes(self.codes[0].index_select(0, rows), self.settings.bits[0], parts)
        tier, rank = self.locate(rows)
        codes = torch.empty(len(rows), parts, dtype=torch.int64, device=rows.device)
        for t, (bits, stored) in enumerate(zip(self.settings.bits, self.codes, strict=True)):
            members = (tier == t).nonzero().flatten()
            if len(members):
                codes[members] = _unpack_codes(stored[rank[members]], bits, parts)
        return codes

    def programs(self, columns: Columns) -> list[Program] | None:
        said, codes = self.settings, self.codes
        own = self.index_words
        own += [len(said.widths), said.combine == "add", said.codewords if said.per_field else 0]
        own += said.codec.words(self.width)
        rest = [0] * (MAX_TIERS - len(said.bits))
        own += [*said.bits, *rest, *codes, *rest]
        books = self.books
        per_part = [(books[0 if said.shared else j], w, said.codec.row_bytes(w)) for j, w in enumerate(said.widths)]
        parts = torch.tensor([[book.data_ptr(), w, size] for book, w, size in per_part])
        return [self.program(CODEBOOKS, columns, [*own, parts], books)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        rows, parts = num_rows(schema, fields), min(3, width)
        widths = [len(part) for part in torch.arange(width).tensor_split(parts)]
        for per_field in (False, True):
            own = len(fields) if per_field else 1
            books = [torch.randn(7 * own, w) for w in widths]
            packed = cls.pack(schema, fields, torch.randint(7, (rows, parts)), books, per_field=per_field)
            yield Example(packed, cls.bytes_of([rows], widths, 7, fields=own))
        tier, codes = torch.randint(2, (rows,)), torch.randint(2, (rows, parts))
        books = [torch.randn(8, width) for _ in widths]
        packed = cls.pack(schema, fields, codes, books, "add", tiers=(tier, (3, 1)))
        counts = torch.bincount(tier, minlength=2).tolist()
        yield Example(packed, cls.bytes_of(counts, [width] * parts, 8, (3, 1)))

    def nbytes_by_field(self) -> dict[str, int]:
        books = sum(b.nbytes for b in self.books) // len(self.fields) if self.settings.per_field else 0
        return self.with_shared([books] * len(self.fields))

    @property
    def num_parameters(self) -> int:
        """Each code counts as one parameter."""
        widths = self.settings.widths[:1] if self.settings.shared else self.settings.widths
        books = sum(len(book) * w for book, w in zip(self.books, widths, strict=True))
        return int(self.cardinalities.sum()) * len(self.settings.widths) + books

    def replicate(self, times: int) -> Self:
        stored, index = self.repeated(self.codes, times)
        codes = [rows for rows in stored if rows is not None]
        return type(self)(replicated(self.schema, times), self.fields, self.settings, codes, self.books, index)

    def describe(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json")

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(CodebookSettings, settings, cls.kind), cls.kind
        require(all(1 <= b <= 16 for b in said.bits), kind, "a code has no bits, or more than 16")
        require(all(w >= 1 for w in said.widths) and _width(said) == width, kind, "parts do not make a row")
        same = len(set(said.widths)) == 1
        require(same or not (said.shared or said.combine == "add"), kind, "parts of unequal width are shared or added")
        rows, sizes, index = sum(schema.fields[f].cardinality for f in fields), code_bytes(said), None
        names: set[str] = set()
        if len(sizes) > 1:
            index, names = TierIndex.restore(tensors, "index", rows, len(sizes), kind)
        codes = []
        for t, (count, size) in enumerate(zip(index.counts(rows) if index else [rows], sizes, strict=True)):
            codes.append(take_exact(tensors, f"codes{t}", kind, torch.uint8, (count, size)))
            names.add(f"codes{t}")
        books, codewords = [], said.codewords * (len(fields) if said.per_field else 1)
        for j in range(_num_books(said)):
            name = f"codebook{j}"
            book = take(tensors, name, kind)
            books.append(said.codec.check(book, codewords, said.widths[j], f"format {kind}: '{name}'"))
            names.add(name)
        only(tensors, names, kind)
        made = cls(schema, fields, said, codes, books, index)
        if any(1 << b > said.codewords for b in said.bits):
            for chunk in torch.arange(rows).split(CHUNK):
                require(bool((made._codes(chunk) < said.codewords).all()), kind, "a code names no codeword")
        return made


def code_bytes(settings: CodebookSettings) -> list[int]:
    """Bytes of the codes of a row, per tier."""
    return [-(-len(settings.widths) * bits // 8) for bits in settings.bits]


def _width(settings: CodebookSettings) -> int:
    return sum(settings.widths) if settings.combine == "concat" else settings.widths[0]


def _num_books(settings: CodebookSettings) -> int:
    return 1 if settings.shared else len(settings.widths)


def _pack_codes(codes: Tensor, bits: int) -> Tensor:
    """``[N, parts]`` integers to ``[N, bytes]`` uint8: one bit string per row, in little-endian order."""
    string = (codes.to(torch.int64).unsqueeze(-1) >> torch.arange(bits) & 1).flatten(1)
    padded = torch.zeros(len(codes), -(-string.shape[1] // 8) * 8, dtype=torch.uint8)
    padded[:, : string.shape[1]] = string
    return (padded.view(len(codes), -1, 8) << torch.arange(8, dtype=torch.uint8)).sum(-1).to(torch.uint8)


def _unpack_codes(packed: Tensor, bits: int, parts: int) -> Tensor:
    """The reverse, as int64."""
    if bits == 8:
        return packed.to(torch.int64)
    string = (packed.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8, device=packed.device) & 1).flatten(1)
    codes = string[:, : parts * bits].unflatten(1, (parts, bits)).to(torch.int64)
    return (codes << torch.arange(bits, device=packed.device)).sum(-1)
