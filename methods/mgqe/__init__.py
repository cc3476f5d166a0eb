from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction
from sharkbench.errors import Infeasible

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


LEAST_SHARE = 0.05
"""Least share of rows that may use all codewords, where a budget decides (ours)."""


@dataclass(frozen=True)
class MGQESize(SmallFieldsSize):
    parts: int
    bits: int
    share: float
    """Share of rows, the most read ones, that may use all codewords."""


class MGQE(WithSmallFields):
    r"""Multi-granular quantized embeddings (Kang et al., "Learning Multi-granular Quantized Embeddings for Large-Vocab
    Categorical Features in Recommender Systems", WWW companion 2020), on the differentiable product quantization of
    Chen, Li and Sun (ICML 2020), the variant with vector quantization.

    .. math:: e_i = C^{(1)}_{c_{i1}} \oplus \dots \oplus C^{(m)}_{c_{im}}, \qquad
              c_{ij} = \operatorname*{arg\,min}_{k \le K_{g(i)}} \lVert q_i^{(j)} - C^{(j)}_k \rVert^2, \qquad
              \frac{\partial L}{\partial q_i} := \frac{\partial L}{\partial e_i}, \qquad
              L' = L + \gamma \operatorname{mean} \lVert e_i - \operatorname{sg}(q_i) \rVert^2

    with queries :math:`q` that exist in training only, and :math:`g(i)` the group of the row: rows that training reads
    often choose among all :math:`K` codewords, the other rows among the first :math:`K_g` of them.

    This project's own choices: two groups, whose codes differ by two bits (a public benchmark has 256 and 64
    codewords); ``parts``, ``bits`` and ``share`` are, of all choices within a twentieth of the most bits per row that
    the budget allows, the one with the fewest parts, and a twentieth to a half of the rows may use all codewords (if
    all did, or none, it would be the parent method; none do where only that fits); a larger budget leaves fields
    uncompressed, as many as fit, and the rest of it is not used; queries and codewords start from one normal
    distribution, scaled so that the chosen codewords have the full table's standard deviation (the authors of
    differentiable product quantization normalise the distances instead); first-order weights are one more part of the
    row; small fields keep a row per id.
    """

    name: Literal["mgqe"] = "mgqe"
    parts: int | None = Field(default=None, ge=1)
    """Number m of parts that a vector is divided into (at most one per value); solved from the budget unless given."""
    bits: int | None = Field(default=None, ge=1, le=10)
    """Bits per code of the rows read most: K = ``2^bits`` codewords per part; solved from the budget, up to 8, unless
    given."""
    fewer_bits: int = Field(default=2, ge=0, le=9)
    """How many bits fewer the codes of other rows have: K_g = ``2^(bits - fewer_bits)``; at least one bit is left."""
    share: float | None = Field(default=None, ge=0, le=1)
    """Share of rows, the most read ones, that may use all codewords; solved from the budget unless given."""
    books: Literal["shared", "field"] = "shared"
    """Whether all fields share their codewords, or each field has its own."""
    threshold: int | None = Field(default=None, ge=0)
    """Fields of at most so many rows keep a row per id; as the budget allows unless given."""
    pull: float = Field(default=1.0, gt=0)
    """Weight gamma of the loss that pulls codewords towards the queries that chose them."""
    codeword_rate: float = Field(default=1.0, gt=0)
    """Learning rate of the codewords relative to that of rows (ours)."""

    title: ClassVar[str] = "trained product quantization, fewer codewords for rare rows"
    paper: ClassVar[str] = "Kang et al., WWW companion 2020, arXiv:2002.08530"
    year: ClassVar[int] = 2020
    family: ClassVar[Family] = "vector quantization"

    @property
    def budgeted(self) -> bool:
        return None in (self.parts, self.bits, self.share)

    def size(self, budget: int, shape: TableShape) -> MGQESize:
        if self.parts is not None and self.bits is not None and self.share is not None:
            return MGQESize(self.threshold or 0, self.parts, self.bits, self.share)
        return self.sparing_small_fields(budget, shape, self._size_with, self.nbytes)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> MGQESize:
        sizes = [
            MGQESize(threshold, parts, bits, 0.0)
            for parts in ([self.parts] if self.parts else range(1, max(shape.dimension, 1) + 1))
            for bits in ([self.bits] if self.bits else range(1, 9))
        ]
        fitting, smallest = [], 0
        for share in (LEAST_SHARE, 0.0) if self.share is None else (self.share,):
            sized = [replace(size, share=share) for size in sizes]
            smallest = min(self.nbytes(size, shape) for size in sized)
            if fitting := [size for size in sized if self.nbytes(size, shape) <= budget]:
                break
        if self.share is None and fitting and fitting[0].share:
            fitting = [self._with_largest_share(size, budget, shape) for size in fitting]
        if not fitting:
            raise Infeasible(
                f"mgqe needs at least {smallest:,} bytes, the budget is {budget:,}; fewer parts or bits, or a lower "
                "threshold, would help"
            )
        enough = 0.95 * max(self.row_bits(size) for size in fitting)
        good = (size for size in fitting if self.row_bits(size) >= enough)
        return min(good, key=lambda size: (size.parts, -self.row_bits(size)))

    def _with_largest_share(self, size: MGQESize, budget: int, shape: TableShape) -> MGQESize:
        def nbytes(half: float) -> int:
            return self.nbytes(replace(size, share=half / 2), shape)

        return replace(size, share=largest_fraction(nbytes, budget, what="mgqe") / 2)

    def _tier_bits(self, size: MGQESize) -> list[int]:
        """Bits of a code of rare rows, and of rows read often."""
        return [max(size.bits - self.fewer_bits, 1), size.bits]

    def row_bits(self, size: MGQESize) -> float:
        """Bits of the codes of a row, mean over the rows."""
        rare, often = self._tier_bits(size)
        return size.parts * (rare + size.share * (often - rare))

    def nbytes(self, size: MGQESize, shape: TableShape) -> int:
        """Bytes of the packed layer."""
        from sharkbench.formats.codebooks import Codebooks
        from sharkbench.formats.dense import Dense
        from sharkbench.tables.codewords import widths_of_parts
        from sharkbench.tables.small_fields import count_rows, divide

        small, coded = divide(shape.schema, size.threshold)
        kept, rows = Dense.bytes_of(count_rows(shape.schema, small), shape.width), count_rows(shape.schema, coded)
        if not coded:
            return kept
        tiers, bits = self._tiers(size, rows)
        widths = widths_of_parts(shape.dimension, shape.first_order, size.parts)
        books = len(coded) if self.books == "field" else 1
        return kept + Codebooks.bytes_of(tiers, widths, 2 ** max(bits), bits, fields=books)

    def _tiers(self, size: MGQESize, rows: int) -> tuple[list[int], list[int]]:
        """How many of ``rows`` are rare and how many are read often, and the bits of their codes; a single group if all
        rows have equally many bits."""
        often, bits = int(size.share * rows), self._tier_bits(size)
        if often in (0, rows) or bits[0] == bits[1]:
            return [rows], [bits[often == rows]]
        return [rows - often, often], bits

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.codewords import most_read, widths_of_parts
        from sharkbench.tables.rows import Rows
        from sharkbench.tables.small_fields import count_rows, divide

        from .rows import VectorQuantizedRows

        shape, size = bench.shape, self.size(bench.room, bench.shape)
        small, coded = divide(bench.schema, size.threshold, bench.fields)
        tiers, bits = self._tiers(size, count_rows(bench.schema, coded))
        with bench.seeded("table"):
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
            quantized = VectorQuantizedRows(
                bench.schema,
                coded,
                widths=widths_of_parts(shape.dimension, shape.first_order, size.parts),
                tiers=most_read(bench.schema, coded, tiers[-1] if len(tiers) > 1 else 0).long(),
                bits=bits,
                per_field=self.books == "field",
                init_std=bench.init_std,
                pull=self.pull,
                codeword_rate=self.codeword_rate,
            )
        model = bench.model(bench.table(quantized, rows))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "fewer_bits": trial.suggest_int("fewer_bits", 0, 4),
            "codeword_rate": trial.suggest_float("codeword_rate", 0.1, 10.0, log=True),
            "books": trial.suggest_categorical("books", ["shared", "field"]),
        }
