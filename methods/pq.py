from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from sharkbench.contract.method import Family, Method, small_field_rows
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

MOST_CODEWORDS = 256


class PQ(Method):
    r"""Product quantization of a trained table (Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor
    Search", TPAMI 2011).

    .. math:: \hat e_i = C^{(1)}_{c_{i1}} \oplus \dots \oplus C^{(m)}_{c_{im}}, \qquad
              c_{ij} = \operatorname*{arg\,min}_{k \le K} \lVert e_i^{(j)} - C^{(j)}_k \rVert^2, \qquad
              e_i = e_i^{(1)} \oplus \dots \oplus e_i^{(m)}

    with :math:`\oplus` concatenation. Each part's codewords come from k-means over that part of the rows.

    A row takes whole bytes of codes, at most one byte per number; what a budget leaves beyond that keeps larger fields
    whole, as many as fit, and is otherwise not used.

    This project's own choices: codewords per field, unless codewords that all fields share give a row over a tenth more
    bits; ``parts`` and ``codewords`` are those that give a row the most bits within the budget, of several the
    fewest parts; first-order weights are one more part of the row; fields whose codewords would take more bytes than
    they save, and small ones, keep a row per id.
    """

    name: Literal["pq"] = "pq"
    parts: int | None = Field(default=None, ge=1)
    """Into so many parts a vector is cut (at most one per number); solved from the budget unless given."""
    codewords: int | None = Field(default=None, ge=2, le=1 << 12)
    """Codewords of a part; up to 256 solved from the budget unless given."""
    books: Literal["field", "shared"] | None = None
    """Codewords for each field, or the same for all; by the bits that they leave to a row unless given."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; as the budget allows unless given."""
    weigh: Literal["rows", "reads"] = "rows"
    """Whether all rows count the same in k-means, or by how often training reads them, plus one (ours)."""
    epochs: int = Field(default=0, ge=0)
    """Epochs of fine-tuning the codewords and the backbone afterwards, codes fixed, at most."""
    learning_rate_factor: float = Field(default=0.1, gt=0)
    """Learning rates of fine-tuning relative to the recipe's (ours)."""

    title: ClassVar[str] = "post-training product quantization"
    paper: ClassVar[str] = "Jegou et al., TPAMI 2011, doi:10.1109/TPAMI.2010.57"
    year: ClassVar[int] = 2011
    family: ClassVar[Family] = "vector quantization"
    from_model: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.parts is None or self.codewords is None

    def config_for(self, budget: int, shape: TableShape) -> Self:
        threshold = small_field_rows(shape, budget) if self.threshold is None else self.threshold
        own, shared = (
            self.model_copy(update={"books": books, "threshold": threshold})._with_most_bits(budget, shape)
            for books in ((self.books, self.books) if self.books else ("field", "shared"))
        )
        if own is None and shared is None:
            smallest = self.model_copy(update={"parts": 1, "codewords": 2, "books": "shared", "threshold": 0})
            raise Infeasible(
                f"pq needs at least {smallest.nbytes(shape):,} bytes, the budget is {budget:,}; "
                "give fewer parts or codewords, or a lower threshold, where you have given any"
            )
        best = own if own is not None and (shared is None or own.row_bits > 0.9 * shared.row_bits) else shared
        assert best is not None
        return best if self.threshold is not None else best._filled(budget, shape)

    @property
    def row_bits(self) -> float:
        """What the codes of a vector can tell."""
        assert self.parts is not None
        assert self.codewords is not None
        return self.parts * log2(self.codewords)

    def _with_most_bits(self, budget: int, shape: TableShape) -> Self | None:
        """Parts and codewords that give a row the most bits within the budget, of several the fewest parts."""
        best: Self | None = None
        for parts in [self.parts] if self.parts else range(1, max(shape.dimension, 1) + 1):
            for codewords in [self.codewords] if self.codewords else range(2, MOST_CODEWORDS + 1):
                sized = self.model_copy(update={"parts": parts, "codewords": codewords})._without_waste(shape)
                if sized.nbytes(shape) <= budget and (best is None or sized.row_bits > best.row_bits):
                    best = sized
        return best

    def nbytes(self, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.tables.coded import codes_nbytes
        from sharkbench.tables.small_fields import count_rows, divide

        assert self.parts is not None
        assert self.codewords is not None
        whole, coded = divide(shape.schema, self.threshold or 0)
        kept = 4 * shape.width * count_rows(shape.schema, whole)
        if not coded:
            return kept
        parts = (self.parts if shape.dimension else 0) + (shape.first_order > 0)
        codes = codes_nbytes([count_rows(shape.schema, coded)], parts, [_bits(self.codewords)])
        books = 4 * shape.width * self.codewords * (len(coded) if self.books == "field" else 1)
        return kept + codes + books

    def _without_waste(self, shape: TableShape) -> Self:
        """Fields whose codewords take more bytes than they save are kept whole."""
        assert self.parts is not None
        assert self.codewords is not None
        if self.books == "shared":
            return self
        parts = (self.parts if shape.dimension else 0) + (shape.first_order > 0)
        saved = 4 * shape.width - (parts * _bits(self.codewords) + 7) // 8
        wasteful = 4 * shape.width * self.codewords // saved if saved > 0 else 0
        return self.model_copy(update={"threshold": max(self.threshold or 0, wasteful)})

    def _filled(self, budget: int, shape: TableShape) -> Self:
        """What is left of the budget keeps further fields whole, the smaller ones first."""
        from sharkbench.tables.small_fields import largest_threshold

        def nbytes(threshold: int) -> int:
            return self.model_copy(update={"threshold": threshold}).nbytes(shape)

        threshold = largest_threshold(shape.schema, nbytes, budget, self.threshold or 0)
        return self.model_copy(update={"threshold": threshold})

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import counted, fine_tune
        from sharkbench.model.model import Model
        from sharkbench.tables.coded import CodedRows
        from sharkbench.tables.finished import Finished
        from sharkbench.tables.kept import rows_of
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import divide

        start = bench.start_model()
        whole, coded = divide(bench.schema, self.threshold or 0, start.embedding.fields)
        with counted(bench, 0):
            codes, books = self._cluster(bench, rows_of(start.embedding, coded), coded)
        table = bench.table(
            CodedRows(bench.schema, coded, codes, books, per_field=self.books == "field"),
            Rows(bench.schema, whole, rows_of(start.embedding, whole)),
        )
        if not self.epochs:
            return Model(Finished(table.pack()), start.backbone)
        model = Model(table, start.backbone)
        fine_tune(bench, model, stage="fine-tune", epochs=self.epochs, learning_rate_factor=self.learning_rate_factor)
        return model

    def _cluster(self, bench: Workbench, rows: Tensor, coded: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
        """Codes ``[R, parts]`` of ``rows``, and the codewords of each part."""
        import torch

        from sharkbench.tables.coded import reads, widths_of_parts
        from sharkbench.tables.kmeans import kmeans

        assert self.parts is not None
        assert self.codewords is not None
        if not coded:
            return torch.zeros(0, self.parts, dtype=torch.int64), []
        weights = 1 + reads(bench.schema, coded) if self.weigh == "reads" else torch.ones(len(rows))
        sizes = [bench.schema.fields[f].cardinality for f in coded] if self.books == "field" else [len(rows)]
        shape, generator = bench.shape, bench.generator("k-means")
        codes, books = [], []
        for part in rows.split(widths_of_parts(shape.dimension, shape.first_order, self.parts), 1):
            clusters = [
                kmeans(own, self.codewords, generator, weights=weight)
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


def _bits(codewords: int) -> int:
    return max(1, (codewords - 1).bit_length())
