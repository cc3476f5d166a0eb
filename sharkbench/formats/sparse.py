"""Rows with most values zero: only the other values and their positions are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, num_rows, replicated
from sharkbench.formats.codec import CHUNK, FLOATS, FloatName
from sharkbench.formats.kernels import SPARSE_BITMAP, SPARSE_CSR, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact
from sharkbench.formats.tier_index import popcount

Form = Literal["csr", "bitmap"]
GROUP = 8
"""Words of the bitmap per counter: a cache line."""


class SparseSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form


class Sparse(Format):
    """``e_i`` has the kept values of row ``i`` in their columns and zero elsewhere. The smaller of two forms is used:

    - ``csr``: ``ends`` ``[R]`` (kept values up to and including row ``i``; int16, int32 or int64, the smallest that
      fits) and ``columns`` ``[nnz]`` (uint8, or int16 for rows wider than 256);
    - ``bitmap``: ``mask``, one bit per value of the table, row after row, in int64 words; ``ranks``, int32 or int64,
      one per 8 words: the number of kept values before them.

    ``values`` ``[nnz]`` float32, float16 or bfloat16, row after row.
    """

    kind = "sparse"

    def __init__(
        self, schema: Schema, fields: Sequence[int], width: int, form: Form, tensors: Mapping[str, Tensor]
    ) -> None:
        super().__init__(schema, fields, width)
        self.form: Form = form
        for name in _NAMES[form]:
            self.register_buffer(name, tensors[name])
        self.values: Tensor
        self.ends: Tensor
        self.columns: Tensor
        self.mask: Tensor
        self.ranks: Tensor
        self.register_buffer("firsts", torch.from_numpy(self.first_rows[self.column_fields]), persistent=False)
        self.firsts: Tensor

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        table: Tensor,
        dtype: FloatName = "fp32",
        kept: Tensor | None = None,
        form: Form | None = None,
    ) -> Self:
        """Pack the rows of ``fields``, one field after the other.

        Args:
            table: ``[R, width]``.
            kept: ``[R, width]`` bool, the values to keep; those that are not zero, where not given.
            form: the smaller of the two, where not given.
        """
        kept = (table != 0 if kept is None else kept).cpu()
        rows, width = kept.shape
        values = table.detach().cpu()[kept].to(FLOATS[dtype])
        chosen: Form = (
            form if form is not None else min(_NAMES, key=lambda f: cls.bytes_of(rows, width, len(values), dtype, f))
        )
        made = _csr(kept) if chosen == "csr" else _bitmap(kept)
        return cls(schema, fields, width, chosen, {**made, "values": values})

    @classmethod
    def bytes_of(cls, rows: int, width: int, kept: int, dtype: FloatName = "fp32", form: Form | None = None) -> int:
        """Bytes of ``rows`` rows with ``kept`` values altogether, in ``form`` or in the smaller form."""
        if form is None:
            return min(cls.bytes_of(rows, width, kept, dtype, f) for f in _NAMES)
        values = kept * FLOATS[dtype].itemsize
        if form == "csr":
            return values + kept * _column_dtype(width).itemsize + rows * _count_dtype(kept, smallest=True).itemsize
        words = -(-rows * width // 64)
        return values + 8 * words + -(-words // GROUP) * _count_dtype(kept).itemsize

    def lookup(self, ids: Tensor) -> Tensor:
        rows = (ids.to(torch.int64) - self.starts + self.firsts).flatten()
        first, last = self._span(rows)
        out = torch.zeros(len(rows), self.width, dtype=torch.float32, device=ids.device)
        if len(self.values):
            # The k-th kept value of every row at once; a row has at most `width`.
            counts = last - first
            for k in range(int(counts.max()) if len(rows) else 0):
                has = (counts > k).nonzero().flatten()
                place = first[has] + k
                out[has, self._column(rows[has], k, place)] = self.values[place].float()
        return out.view(*ids.shape, self.width)

    def _span(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """First and end position of the values of each row."""
        if self.form == "csr":
            before = self.ends[(rows - 1).clamp(min=0)].to(torch.int64)
            return torch.where(rows > 0, before, 0), self.ends[rows].to(torch.int64)
        return self._rank(rows * self.width), self._rank((rows + 1) * self.width)

    def _rank(self, bits: Tensor) -> Tensor:
        """Number of kept values before each bit of the mask."""
        word = bits >> 6
        group = torch.minimum(word // GROUP, torch.tensor(len(self.ranks) - 1, device=bits.device))
        total = self.ranks[group].to(torch.int64)
        for k in range(GROUP + 1):
            at = group * GROUP + k
            inside = self.mask[at.clamp(max=len(self.mask) - 1)]
            # Whole words before the bit's, then the part of its own word before it.
            part = inside & ((torch.ones_like(bits) << (bits & 63)) - 1)
            total = total + torch.where(at < word, popcount(inside), torch.where(at == word, popcount(part), 0)) * (
                at < len(self.mask)
            )
        return total

    def _column(self, rows: Tensor, k: int, place: Tensor) -> Tensor:
        """Column of the ``k``-th kept value of each row, which is at position ``place`` of all values."""
        if self.form == "csr":
            return self.columns[place].to(torch.int64)
        bits = rows.unsqueeze(1) * self.width + torch.arange(self.width, device=rows.device)
        kept = self.mask[bits >> 6] >> (bits & 63) & 1
        return ((kept.cumsum(1) == k + 1) & (kept == 1)).to(torch.int8).argmax(1)

    def programs(self, columns: Columns) -> list[Program] | None:
        value = list(FLOATS.values()).index(self.values.dtype)
        own: list[int | Tensor]
        if self.form == "csr":
            own = [self.values, value, self.ends, self.ends.itemsize, self.columns, self.columns.itemsize]
            return [self.program(SPARSE_CSR, columns, own)]
        own = [self.values, value, self.mask, len(self.mask), self.ranks, self.ranks.itemsize]
        return [self.program(SPARSE_BITMAP, columns, own)]

    def _first_places(self) -> list[int]:
        """First position of the values of each field, and the end of the last."""
        edges = torch.tensor([*self.first_rows.tolist(), int(self.cardinalities.sum())])
        return [0, *self._span(edges[1:] - 1)[1].tolist()]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        for form in _NAMES:
            for share in (0.0, 0.2, 1.0):
                rows = torch.randn(num_rows(schema, fields), width)
                kept = torch.rand(rows.shape) < share
                packed = cls.pack(schema, fields, rows, "fp16", kept, form)
                nbytes = cls.bytes_of(len(rows), width, int(kept.sum()), "fp16", form)
                yield Example(packed, nbytes, rows.half().float() * kept)

    def nbytes_by_field(self) -> dict[str, int]:
        places = self._first_places()
        per_value = self.values.itemsize + (self.columns.itemsize if self.form == "csr" else 0)
        per_row = self.ends.itemsize if self.form == "csr" else 0
        total = {
            self.schema.fields[f].name: (places[i + 1] - places[i]) * per_value + n * per_row
            for i, (f, n) in enumerate(zip(self.fields, self.cardinalities.tolist(), strict=True))
        }
        rest = self.nbytes - sum(total.values())
        return {**total, SHARED: rest} if rest else total

    @property
    def num_parameters(self) -> int:
        return len(self.values)

    def replicate(self, times: int) -> Self:
        sizes = [b - a for a, b in zip(self._first_places(), self._first_places()[1:], strict=False)]
        values = torch.cat([part.repeat(times) for part in self.values.split(sizes)])
        kept = torch.cat([part.repeat(times, 1) for part in self._kept().split(self.cardinalities.tolist())])
        made = _csr(kept) if self.form == "csr" else _bitmap(kept)
        schema = replicated(self.schema, times)
        return type(self)(schema, self.fields, self.width, self.form, {**made, "values": values})

    def _kept(self) -> Tensor:
        """``[R, width]`` bool."""
        total = int(self.cardinalities.sum())
        if self.form == "bitmap":
            bits = self.mask.view(torch.uint8).unsqueeze(1) >> torch.arange(8, dtype=torch.uint8) & 1
            return bits.flatten()[: total * self.width].view(total, self.width).bool()
        kept = torch.zeros(total, self.width, dtype=torch.bool)
        counts = torch.diff(self.ends.to(torch.int64), prepend=torch.zeros(1, dtype=torch.int64))
        kept[torch.arange(total).repeat_interleave(counts), self.columns.to(torch.int64)] = True
        return kept

    def describe(self) -> dict[str, Any]:
        return {"form": self.form}

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        form, kind = read_settings(SparseSettings, settings, cls.kind).form, cls.kind
        only(tensors, set(_NAMES[form]), kind)
        values = take(tensors, "values", kind)
        require(values.dtype in FLOATS.values() and values.dim() == 1, kind, "'values' are not a row of floats")
        take_exact(tensors, "values", kind, values.dtype, (len(values),))
        rows = sum(schema.fields[f].cardinality for f in fields)
        if form == "csr":
            _check_csr(tensors, rows, width, len(values))
        else:
            _check_bitmap(tensors, rows, width, len(values))
        return cls(schema, fields, width, form, tensors)


_NAMES: dict[Form, tuple[str, ...]] = {"csr": ("values", "ends", "columns"), "bitmap": ("values", "mask", "ranks")}


def _column_dtype(width: int) -> torch.dtype:
    return torch.uint8 if width <= 256 else torch.int16 if width <= 1 << 15 else torch.int32


def _count_dtype(largest: int, *, smallest: bool = False) -> torch.dtype:
    if smallest and largest < 1 << 15:
        return torch.int16
    return torch.int32 if largest < 1 << 31 else torch.int64


def _csr(kept: Tensor) -> dict[str, Tensor]:
    ends = kept.sum(1).cumsum(0)
    total = int(ends[-1])
    columns = torch.cat([part.nonzero()[:, 1].to(_column_dtype(kept.shape[1])) for part in kept.split(CHUNK)])
    return {"ends": ends.to(_count_dtype(total, smallest=True)), "columns": columns}


def _bitmap(kept: Tensor) -> dict[str, Tensor]:
    count = kept.numel()
    words = -(-count // 64)
    bits = torch.zeros(words * 64, dtype=torch.uint8)
    bits[:count] = kept.flatten()
    mask = (bits.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8).view(torch.int64)
    return {"mask": mask, "ranks": _ranks(mask)}


def _ranks(mask: Tensor) -> Tensor:
    counts = torch.zeros(-(-len(mask) // GROUP) * GROUP, dtype=torch.int64)
    counts[: len(mask)] = popcount(mask)
    totals = counts.view(-1, GROUP).sum(1)
    return (totals.cumsum(0) - totals).to(_count_dtype(int(totals.sum())))


def _check_csr(tensors: Mapping[str, Tensor], rows: int, width: int, kept: int) -> None:
    kind = Sparse.kind
    ends = take_exact(tensors, "ends", kind, _count_dtype(kept, smallest=True), (rows,)).to(torch.int64)
    columns = take_exact(tensors, "columns", kind, _column_dtype(width), (kept,)).to(torch.int64)
    counts = torch.diff(ends, prepend=torch.zeros(1, dtype=torch.int64))
    require(bool((counts >= 0).all()) and int(ends[-1]) == kept, kind, "row ends do not ascend to the number of values")
    require(bool(((columns >= 0) & (columns < width)).all()), kind, "a column is outside the row")
    same_row = torch.ones(kept, dtype=torch.bool)
    same_row[(ends - counts)[counts > 0]] = False
    ascending = torch.diff(columns, prepend=torch.full((1,), -1)) > 0
    require(bool((ascending | ~same_row).all()), kind, "columns of a row do not ascend")


def _check_bitmap(tensors: Mapping[str, Tensor], rows: int, width: int, kept: int) -> None:
    kind, count = Sparse.kind, rows * width
    words = -(-count // 64)
    mask = take_exact(tensors, "mask", kind, torch.int64, (words,))
    expected = _ranks(mask)
    ranks = take_exact(tensors, "ranks", kind, expected.dtype, tuple(expected.shape))
    require(torch.equal(ranks, expected), kind, "counters do not add up")
    require(int(popcount(mask).sum()) == kept, kind, "the mask does not have as many numbers as there are values")
    tail = count % 64
    require(tail == 0 or int(mask[-1]) >> tail == 0, kind, "numbers beyond the last row are marked")
