from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from sharkbench.contract.method import Family, Method, largest_fraction, small_field_rows
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.base import Format
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

MOST_BITS = 8


class PTQCodebook(Method):
    r"""Post-training codebooks of values (Guan et al., "Post-Training 4-bit Quantization on Embedding Tables", 2019).

    .. math:: \hat e_{id} = C_{g(i), c_{id}}, \qquad
              c_{id} = \operatorname*{arg\,min}_{k} | e_{id} - C_{g(i), k} |, \qquad
              C_g = \text{k-means of all numbers of the rows of group } g

    A number costs the bits of its code alone: unlike row-wise integers, a row has no scale of its own.

    Published: k-means of values, for each row or for groups of similar rows. This project's own choices: the groups are
    the fields, and within a field the rows that training reads most, whose codes have one bit more (their codebook is
    the others', as it is, and as many values again): so that a budget between two widths is nearly met. First-order
    weights have a codebook of their own, of 4 bits beside at most 4 and of 8 beside more. Small fields keep a row per
    id, at 8 bits as many as fit.
    """

    name: Literal["ptq_codebook"] = "ptq_codebook"
    bits: int | None = Field(default=None, ge=1, le=MOST_BITS)
    """Bits per number; the most that the budget allows unless given."""
    share: float = Field(default=0.0, ge=0, le=1)
    """Share of rows, the most read ones, that have one bit more; solved with the bits, none where those are given."""
    groups: Literal["field", "table"] = "field"
    """Whether each field has a codebook of its own, or all have the same."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; as the budget allows unless given."""

    title: ClassVar[str] = "post-training codebooks of values"
    paper: ClassVar[str] = "Guan et al., 2019, arXiv:1911.02079"
    year: ClassVar[int] = 2019
    family: ClassVar[Family] = "quantization"
    from_model: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.bits is None

    def config_for(self, budget: int, shape: TableShape) -> Self:
        threshold = small_field_rows(shape, budget) if self.threshold is None else self.threshold
        smallest, share = 0, self.share if self.bits else 0.0
        for bits in (self.bits,) if self.bits else range(MOST_BITS, 0, -1):
            sized = self.model_copy(update={"bits": bits, "threshold": threshold, "share": share})
            smallest = sized.nbytes(shape)
            if smallest <= budget:
                return sized._shared_out(budget, shape) if bits < MOST_BITS else sized._filled(budget, shape)
        raise Infeasible(
            f"ptq_codebook needs at least {smallest:,} bytes ({bits} bits per number), the budget is {budget:,}; "
            "pq goes lower, it codes several numbers at a time"
        )

    def _shared_out(self, budget: int, shape: TableShape) -> Self:
        """What is left of the budget gives some rows one bit more."""
        if self.threshold is None or not shape.dimension:
            return self
        try:
            share = largest_fraction(
                lambda share: self.model_copy(update={"share": share}).nbytes(shape), budget, what="a share of rows"
            )
        except Infeasible:  # their index and codebook alone do not fit
            return self
        return self.model_copy(update={"share": share})

    def _filled(self, budget: int, shape: TableShape) -> Self:
        """What is left of the budget keeps further fields whole, the smaller ones first."""
        from sharkbench.tables.small_fields import largest_threshold

        def nbytes(threshold: int) -> int:
            return self.model_copy(update={"threshold": threshold}).nbytes(shape)

        threshold = largest_threshold(shape.schema, nbytes, budget, self.threshold or 0)
        return self.model_copy(update={"threshold": threshold})

    def nbytes(self, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.tables.coded import codes_nbytes
        from sharkbench.tables.small_fields import count_rows, divide

        assert self.bits is not None
        whole, coded = divide(shape.schema, self.threshold or 0)
        total, rows, books = 4 * shape.width * count_rows(shape.schema, whole), count_rows(shape.schema, coded), 1
        if not coded:
            return total
        if self.groups == "field":
            books = len(coded)
        if shape.dimension:
            more = int(self.share * rows)
            tiers, bits = ([rows - more, more], [self.bits, self.bits + 1]) if more else ([rows], [self.bits])
            total += codes_nbytes(tiers, shape.dimension, bits) + books * 4 * 2 ** max(bits)
        if shape.first_order:
            bits = [_first_order_bits(self.bits)]
            total += codes_nbytes([rows], shape.first_order, bits) + books * 4 * 2 ** max(bits)
        return total

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted
        from sharkbench.formats.dense import Dense
        from sharkbench.formats.layer import PackedLayer
        from sharkbench.model.model import Model
        from sharkbench.tables.finished import Finished
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.small_fields import divide

        start = bench.start_model()
        whole, coded = divide(bench.schema, self.threshold or 0, start.embedding.fields)
        parts: list[Format] = []
        if coded:
            with counted(bench, 0):
                parts.append(self._coded(bench, coded, rows_of(start.embedding, coded)))
        if whole:
            parts.append(Dense.pack(bench.schema, whole, rows_of(start.embedding, whole)))
        return Model(Finished(PackedLayer(bench.schema, bench.width, parts)), start.backbone)

    def _coded(self, bench: Workbench, fields: tuple[int, ...], rows: Tensor) -> Format:
        """``rows`` ``[R, width]`` of ``fields`` as codes: of the vectors, and beside them of first-order weights."""
        import torch

        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.side_by_side import SideBySide
        from sharkbench.tables.coded import most_read

        assert self.bits is not None
        shape, generator = bench.shape, bench.generator("k-means")
        none = torch.zeros(len(rows), dtype=torch.bool)
        more = most_read(bench.schema, fields, int(self.share * len(rows))) if shape.dimension else none
        bits = [self.bits, self.bits + 1] if more.any() else [self.bits]
        vectors, first_order = rows.split([shape.dimension, shape.first_order], 1)
        parts: list[Format] = []
        for numbers, mine, widths in (
            (vectors, more, bits),
            (first_order, none, [_first_order_bits(self.bits)]),
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
