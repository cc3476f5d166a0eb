"""Rows quantized to codewords in training: differentiable product quantization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.tables.kmeans import nearest
from sharkbench.tables.parts import Part, Slots
from sharkbench.tables.sharded import lookup


class VectorQuantizedRows(Part):
    """``e_i = C_1[c_i1] ++ C_2[c_i2] ++ ...``, ``c_ij`` the index of the codeword nearest to part ``j`` of the query.

    Rows ``[B, C]`` to vectors ``[B, C, width]``. The forward pass returns codewords; the backward pass passes the
    gradient of a row straight through to its query, and an extra loss, the squared distance between them, pulls
    codewords towards the queries that chose them. Queries are training state. Rows are in tiers, and a tier of ``b``
    bits chooses among the first ``2^b`` codewords.

    Args:
        schema, fields: as for :class:`Part`.
        widths: of the parts of a row.
        tiers: ``[R]`` int64, the tier of each row.
        bits: of a code in each tier; there are ``2^b`` codewords for the largest.
        per_field: each field has codewords of its own.
        init_std: initial standard deviation of the quantized rows.
        pull: weight of the extra loss.
        codeword_rate: learning rate of the codewords, relative to that of rows.
    """

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        *,
        widths: Sequence[int],
        tiers: Tensor,
        bits: Sequence[int],
        per_field: bool,
        init_std: float,
        pull: float,
        codeword_rate: float,
    ) -> None:
        super().__init__(schema, fields, sum(widths))
        self.widths, self.bits, self.per_field = tuple(widths), tuple(bits), per_field
        self.pull, self.codeword_rate = pull, codeword_rate
        self.register_buffer("tiers", tiers, persistent=False)
        self.tiers: Tensor
        owners = torch.arange(len(self.fields)).repeat_interleave(torch.tensor(self.sizes, dtype=torch.int64))
        self.register_buffer("owners", owners if per_field else torch.zeros_like(owners), persistent=False)
        self.owners: Tensor
        """``[R]``: which set of codewords a row chooses from."""
        self.codewords = 1 << max(bits)
        groups = len(self.fields) if per_field else 1
        self.queries = nn.Parameter(torch.empty(self.num_rows, self.width).normal_(std=init_std))
        self.books = nn.ParameterList(torch.empty(groups * self.codewords, w).normal_(std=init_std) for w in widths)
        if self.fields:
            self._scale_to(init_std)
        self._distance: Tensor | None = None

    @torch.no_grad()
    def _scale_to(self, std: float) -> None:
        """Scale so that chosen codewords have standard deviation ``std``; the choices are the same at any scale."""
        chosen = torch.randperm(len(self.queries))[: 1 << 16]
        factor = std / self._codewords_of(chosen, self.queries[chosen]).square().mean().sqrt()
        for parameter in (self.queries, *self.books):
            parameter.mul_(factor)

    def parameter_groups(self) -> list[dict[str, Any]]:
        # A chosen codeword follows its rows, and they decay already.
        return [{"params": [self.queries]}, {"params": list(self.books), "l2": 0.0, "lr_factor": self.codeword_rate}]

    def row_tables(self) -> list[nn.Parameter]:
        return [self.queries]

    def forward(self, slots: Slots) -> Tensor:
        distinct, places, counts = slots.rows.unique(return_inverse=True, return_counts=True)
        if slots.present is not None:
            # Padding reads the first row of its field; these reads do not pull on a codeword.
            read = places[slots.present]
            counts = torch.zeros_like(counts).index_add_(0, read, counts.new_ones(len(read)))
        queries = lookup(self.queries, distinct, sparse=self.sparse)
        chosen = self._codewords_of(distinct, queries.detach())
        if self.training:
            distances = (chosen - queries.detach()).square().mean(1)
            self._distance = (distances * counts).sum() / counts.sum().clamp(min=1)
            chosen = queries + (chosen - queries).detach()
        return chosen[places]

    def extra_loss(self) -> Tensor | None:
        distance, self._distance = self._distance, None
        return None if distance is None else self.pull * distance

    def _codewords_of(self, rows: Tensor, queries: Tensor) -> Tensor:
        """``[N, width]``: the codewords that ``queries`` of these rows choose."""
        codes = self.codes_of(rows, queries) + (self.owners[rows] * self.codewords)[:, None]
        return torch.cat([F.embedding(codes[:, j], book) for j, book in enumerate(self.books)], 1)

    @torch.no_grad()
    def codes_of(self, rows: Tensor, queries: Tensor) -> Tensor:
        """``[N, parts]`` int64 codes, within what the tier of each row may use."""
        if not self.training:
            # A matrix product in single precision depends slightly on the other rows of the batch, which could change
            # the nearest codeword: the evaluated rows would differ from the packed ones.
            queries = queries.double()
        codes = torch.empty(len(rows), len(self.widths), dtype=torch.int64, device=rows.device)
        for members, first, limit in self._groups(rows):
            for j, (part, book) in enumerate(zip(queries[members].split(self.widths, 1), self.books, strict=True)):
                codes[members, j] = nearest(part, book[first : first + limit].to(part.dtype))
        return codes

    def _groups(self, rows: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Groups of ``rows`` that choose from the same codewords: positions, first codeword, number of codewords."""
        kinds = self.owners[rows] * len(self.bits) + self.tiers[rows]
        for kind in kinds.unique().tolist():
            owner, tier = divmod(kind, len(self.bits))
            yield (kinds == kind).nonzero().flatten(), owner * self.codewords, 1 << self.bits[tier]

    def pack(self) -> list[Format]:
        was_training = self.training
        self.eval()
        every = torch.arange(len(self.queries), device=self.queries.device)
        codes = self.codes_of(every, self.queries.detach())
        self.train(was_training)
        books = [book.detach().clone() for book in self.books]
        tiers = (self.tiers, self.bits)
        return [Codebooks.pack(self.schema, self.fields, codes, books, per_field=self.per_field, tiers=tiers)]
