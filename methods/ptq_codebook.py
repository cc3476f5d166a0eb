from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Takes, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction, spend_on_small_fields
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.base import Format
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

MOST_BITS = 8


@dataclass(frozen=True)
class PTQCodebookSize(SmallFieldsSize):
    bits: int
    share: float
    """Share of rows, the most read ones, that have one bit more."""


class PTQCodebook(WithSmallFields):
    r"""Post-training codebooks of values (Guan et al., "Post-Training 4-bit Quantization on Embedding Tables", 2019).

    .. math:: \hat e_{id} = C_{g(i), c_{id}}, \qquad
              c_{id} = \operatorname*{arg\,min}_{k} | e_{id} - C_{g(i), k} |, \qquad
              C_g = \text{k-means of all values of the rows of group } g

    A weight costs only the bits of its code: unlike row-wise integers, a row has no scale of its own.

    Published: k-means of values, for each row or for groups of similar rows. This project's own choices: the groups are
    the fields, and within a field the rows that training reads most, whose codes have one bit more, so that a budget
    between two bit widths is nearly met (their codebook contains that of the other rows and as many values again).
    First-order weights have a codebook of their own, with 4 bits where ``bits`` is at most 4, else 8. Small fields keep
    a row per id, at 8 bits as many as fit.
    """

    name: Literal["ptq_codebook"] = "ptq_codebook"
    bits: int | None = Field(default=None, ge=1, le=MOST_BITS)
    """Bits of a weight's code; the most that the budget allows unless given."""
    share: float = Field(default=0.0, ge=0, le=1)
    """Share of rows, the most read ones, that have one bit more; solved with ``bits``, zero where ``bits`` is given."""
    groups: Literal["field", "table"] = "field"
    """Groups g of rows with a codebook of their own: each field, or the whole table."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; as the budget allows unless given."""

    title: ClassVar[str] = "post-training codebooks of values"
    paper: ClassVar[str] = "Guan et al., 2019, arXiv:1911.02079"
    year: ClassVar[int] = 2019
    family: ClassVar[Family] = "quantization"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.bits is None

    def size(self, budget: int, shape: TableShape) -> PTQCodebookSize:
        if self.bits is not None:
            return PTQCodebookSize(self.threshold or 0, self.bits, self.share)
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> PTQCodebookSize:
        sizes = [PTQCodebookSize(threshold, bits, 0.0) for bits in range(MOST_BITS, 0, -1)]
        for size in sizes:
            if self.nbytes(size, shape) <= budget:
                if size.bits < MOST_BITS:
                    return self._shared_out(size, budget, shape)
                return spend_on_small_fields(size, self.nbytes, budget, shape)
        raise Infeasible(
            f"ptq_codebook needs at least {self.nbytes(sizes[-1], shape):,} bytes (1 bits per number), the budget is "
            f"{budget:,}; pq goes lower, it codes several numbers at a time"
        )

    def _shared_out(self, size: PTQCodebookSize, budget: int, shape: TableShape) -> PTQCodebookSize:
        """Spend the remaining bytes on one more bit for some rows."""
        if not shape.dimension:
            return size

        def nbytes(share: float) -> int:
            return self.nbytes(replace(size, share=share), shape)

        try:
            return replace(size, share=largest_fraction(nbytes, budget, what="a share of rows"))
        except Infeasible:  # their index and codebook alone do not fit
            return size

    def nbytes(self, size: PTQCodebookSize, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.dense import Dense
        from sharkbench.tables.small_fields import count_rows, divide

        small, coded = divide(shape.schema, size.threshold)
        total, rows = Dense.bytes_of(count_rows(shape.schema, small), shape.width), count_rows(shape.schema, coded)
        if not coded:
            return total
        books = len(coded) if self.groups == "field" else 1
        more, widths = int(size.share * rows), [1] * shape.dimension
        if shape.dimension and more:
            bits = [size.bits, size.bits + 1]
            total += Codebooks.bytes_of([rows - more, more], widths, 2 ** bits[1], bits, shared=True, fields=books)
        elif shape.dimension:
            total += Codebooks.bytes_of([rows], widths, 2**size.bits, [size.bits], shared=True, fields=books)
        if shape.first_order:
            few = _first_order_bits(size.bits)
            total += Codebooks.bytes_of([rows], [1] * shape.first_order, 2**few, [few], shared=True, fields=books)
        return total

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted
        from sharkbench.formats.dense import Dense
        from sharkbench.formats.layer import PackedLayer
        from sharkbench.model.model import Model
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.packed import PackedTable
        from sharkbench.tables.small_fields import divide

        start, size = bench.start_model(), self.size(bench.room, bench.shape)
        whole, coded = divide(bench.schema, size.threshold, start.embedding.fields)
        parts: list[Format] = []
        if coded:
            with counted(bench, 0):
                parts.append(self._coded(bench, size, coded, rows_of(start.embedding, coded)))
        if whole:
            parts.append(Dense.pack(bench.schema, whole, rows_of(start.embedding, whole)))
        return Model(PackedTable(PackedLayer(bench.schema, bench.width, parts)), start.backbone)

    def _coded(self, bench: Workbench, size: PTQCodebookSize, fields: tuple[int, ...], rows: Tensor) -> Format:
        """``rows`` ``[R, width]`` of ``fields`` as codes: those of vectors, and beside them those of first-order
        weights."""
        import torch

        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.side_by_side import SideBySide
        from sharkbench.tables.codewords import most_read

        shape, generator = bench.shape, bench.generator("k-means")
        none = torch.zeros(len(rows), dtype=torch.bool)
        more = most_read(bench.schema, fields, int(size.share * len(rows))) if shape.dimension else none
        bits = [size.bits, size.bits + 1] if more.any() else [size.bits]
        vectors, first_order = rows.split([shape.dimension, shape.first_order], 1)
        parts: list[Format] = []
        for numbers, mine, widths in (
            (vectors, more, bits),
            (first_order, none, [_first_order_bits(size.bits)]),
        ):
            if not numbers.shape[1]:
                continue
            sizes = [bench.schema.fields[f].cardinality for f in fields] if self.groups == "field" else [len(rows)]
            groups = zip(numbers.split(sizes), mine.split(sizes), strict=True)
            coded = [_code(own, own_more, widths, generator) for own, own_more in groups]
            parts.append(
                Codebooks.pack(
                    bench.schema,
                    fields,
                    torch.cat([codes for codes, _ in coded]),
                    [torch.cat([values for _, values in coded])[:, None]],
                    shared=True,
                    per_field=self.groups == "field",
                    tiers=(mine.long(), widths),
                )
            )
        return parts[0] if len(parts) == 1 else SideBySide.pack(parts)

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {"groups": trial.suggest_categorical("groups", ["field", "table"])}


def _code(rows: Tensor, more: Tensor, bits: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Codes of ``rows`` ``[R, n]``, those marked by ``more`` with the larger of ``bits``, and the codebook."""
    from sharkbench.tables.kmeans import kmeans_scalars, nearest_scalars

    rest = rows if more.all() else rows[~more]
    values = kmeans_scalars(rest.flatten(), 1 << bits[0], generator)
    codes = nearest_scalars(rows, values)
    if len(bits) > 1:
        marked = rows[more] if more.any() else rows
        values = kmeans_scalars(marked.flatten(), (1 << bits[1]) - len(values), generator, given=values)
        codes[more] = nearest_scalars(rows[more], values)
    return codes, values


def _first_order_bits(bits: int) -> int:
    return 4 if bits <= 4 else 8
