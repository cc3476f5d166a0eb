from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, Takes, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

MOST_CODEWORDS = 256


Books = Literal["field", "shared"]
BOOKS: tuple[Books, Books] = ("field", "shared")


@dataclass(frozen=True)
class PQSize(SmallFieldsSize):
    parts: int
    codewords: int
    books: Books

    @property
    def row_bits(self) -> float:
        """Bits of the codes of a row."""
        return self.parts * log2(self.codewords)


class PQ(WithSmallFields):
    r"""Product quantization of a trained table (Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor
    Search", TPAMI 2011).

    .. math:: \hat e_i = C^{(1)}_{c_{i1}} \oplus \dots \oplus C^{(m)}_{c_{im}}, \qquad
              c_{ij} = \operatorname*{arg\,min}_{k \le K} \lVert e_i^{(j)} - C^{(j)}_k \rVert^2, \qquad
              e_i = e_i^{(1)} \oplus \dots \oplus e_i^{(m)}

    with :math:`\oplus` concatenation. Each part's codewords come from k-means over that part of the rows.

    The codes of a row are padded to whole bytes and take at most one byte per value; a larger budget leaves further
    fields uncompressed, as many as fit, and the rest of it is not used.

    This project's own choices: codewords per field, unless codewords that all fields share give a row over a tenth more
    bits; ``parts`` and ``codewords`` are those that give a row the most bits within the budget, and of several choices
    the one with the fewest parts; first-order weights are one more part of the row; fields whose codewords would take
    more bytes than they save, and small fields, keep a row per id.
    """

    name: Literal["pq"] = "pq"
    parts: int | None = Field(default=None, ge=1)
    """Number m of parts that a vector is divided into (at most one per value); solved from the budget unless given."""
    codewords: int | None = Field(default=None, ge=2, le=1 << 12)
    """Number K of codewords of a part; solved from the budget, up to 256, unless given."""
    books: Books | None = None
    """Whether each field has its own codewords, or all fields share them; unless given, chosen by the bits that a row
    gets."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; as the budget allows unless given."""
    weigh: Literal["rows", "reads"] = "rows"
    """Weights of rows in k-means: equal, or how often training reads a row, plus one (ours)."""
    epochs: int = Field(default=0, ge=0)
    """Epochs of fine-tuning the codewords and the backbone with fixed codes, at most."""
    learning_rate_factor: float = Field(default=0.1, gt=0)
    """Learning rates of fine-tuning relative to the recipe's (ours)."""

    title: ClassVar[str] = "post-training product quantization"
    paper: ClassVar[str] = "Jegou et al., TPAMI 2011, doi:10.1109/TPAMI.2010.57"
    year: ClassVar[int] = 2011
    family: ClassVar[Family] = "vector quantization"

    @property
    def takes(self) -> Takes:
        return "model"

    @property
    def budgeted(self) -> bool:
        return self.parts is None or self.codewords is None

    def size(self, budget: int, shape: TableShape) -> PQSize:
        if self.parts is not None and self.codewords is not None:
            return PQSize(self.threshold or 0, self.parts, self.codewords, self.books or "shared")
        return self.sparing_small_fields(budget, shape, self._size_with, self.nbytes)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> PQSize:
        own, shared = (
            self._with_most_bits(threshold, books, budget, shape)
            for books in ((self.books, self.books) if self.books else BOOKS)
        )
        if own is not None and (shared is None or own.row_bits > 0.9 * shared.row_bits):
            return own
        if shared is not None:
            return shared
        smallest = self.nbytes(PQSize(0, 1, 2, "shared"), shape)
        raise Infeasible(
            f"pq needs at least {smallest:,} bytes, the budget is {budget:,}; "
            "give fewer parts or codewords, or a lower threshold, where you have given any"
        )

    def _with_most_bits(self, threshold: int, books: Books, budget: int, shape: TableShape) -> PQSize | None:
        """Parts and codewords that give a row the most bits within the budget; of equals, the fewest parts."""
        best: PQSize | None = None
        for parts in [self.parts] if self.parts else range(1, max(shape.dimension, 1) + 1):
            for codewords in [self.codewords] if self.codewords else range(2, MOST_CODEWORDS + 1):
                size = _without_waste(PQSize(threshold, parts, codewords, books), shape)
                if self.nbytes(size, shape) <= budget and (best is None or size.row_bits > best.row_bits):
                    best = size
        return best

    @staticmethod
    def nbytes(size: PQSize, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.dense import Dense
        from sharkbench.tables.codewords import widths_of_parts
        from sharkbench.tables.small_fields import count_rows, divide

        small, coded = divide(shape.schema, size.threshold)
        kept = Dense.bytes_of(count_rows(shape.schema, small), shape.width)
        if not coded:
            return kept
        widths = widths_of_parts(shape.dimension, shape.first_order, size.parts)
        books = len(coded) if size.books == "field" else 1
        return kept + Codebooks.bytes_of([count_rows(shape.schema, coded)], widths, size.codewords, fields=books)

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted, fine_tune
        from sharkbench.model.model import Model
        from sharkbench.tables.codewords import CodewordRows
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.packed import PackedTable
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        start, size = bench.start_model(), self.size(bench.room, bench.shape)
        whole, coded = divide(bench.schema, size.threshold, start.embedding.fields)
        with counted(bench, 0):
            codes, books = self._cluster(bench, size, rows_of(start.embedding, coded), coded)
        table = bench.table(
            CodewordRows(bench.schema, coded, codes, books, per_field=size.books == "field"),
            Rows(bench.schema, whole, rows_of(start.embedding, whole)),
        )
        if not self.epochs:
            return Model(PackedTable(table.pack()), start.backbone)
        model = Model(table, start.backbone)
        fine_tune(bench, model, stage="fine-tune", epochs=self.epochs, learning_rate_factor=self.learning_rate_factor)
        return model

    def _cluster(
        self, bench: Workbench, size: PQSize, rows: Tensor, coded: tuple[int, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """Codes ``[R, parts]`` of ``rows``, and the codewords of each part."""
        import torch

        from sharkbench.tables.codewords import reads, widths_of_parts
        from sharkbench.tables.kmeans import kmeans

        if not coded:
            return torch.zeros(0, size.parts, dtype=torch.int64), []
        weights = 1 + reads(bench.schema, coded) if self.weigh == "reads" else torch.ones(len(rows))
        sizes = [bench.schema.fields[f].cardinality for f in coded] if size.books == "field" else [len(rows)]
        shape, generator = bench.shape, bench.generator("k-means")
        codes, books = [], []
        for part in rows.split(widths_of_parts(shape.dimension, shape.first_order, size.parts), 1):
            clusters = [
                kmeans(own, size.codewords, generator, weights=weight)
                for own, weight in zip(part.split(sizes), weights.split(sizes), strict=True)
            ]
            books.append(torch.cat([centres for centres, _ in clusters]))
            codes.append(torch.cat([nearest for _, nearest in clusters]))
        return torch.stack(codes, 1), books

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "books": trial.suggest_categorical("books", ["field", "shared"]),
            "weigh": trial.suggest_categorical("weigh", ["reads", "rows"]),
        }


def _without_waste(size: PQSize, shape: TableShape) -> PQSize:
    """``size`` with a threshold that leaves fields uncompressed whose codewords take more bytes than they save."""
    if size.books == "shared":
        return size
    parts = (size.parts if shape.dimension else 0) + (shape.first_order > 0)
    bits = max(1, (size.codewords - 1).bit_length())
    saved = 4 * shape.width - (parts * bits + 7) // 8
    wasteful = 4 * shape.width * size.codewords // saved if saved > 0 else 0
    return replace(size, threshold=max(size.threshold, wasteful))
