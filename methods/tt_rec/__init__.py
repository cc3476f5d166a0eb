from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, WithSmallFields
from sharkbench.contract.sizing import SmallFieldsSize, largest_fraction
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

    from .shapes import TrainShape


@dataclass(frozen=True)
class TTRecSize(SmallFieldsSize):
    ranks: tuple[tuple[tuple[int, ...], ...], ...]
    """Per field and tensor train, the ranks between its cores."""


class TTRec(WithSmallFields):
    r"""Tensor-train embeddings (Yin et al., "TT-Rec: Tensor Train Compression for Deep Learning Recommendation Models",
    MLSys 2021).

    .. math:: e_f(i) = G_1[i_1]\, G_2[i_2] \cdots G_K[i_K], \qquad
              G_k[i_k] \in \mathbb{R}^{r_{k-1} \times d_k r_k}, \quad \prod_k n_k \ge n_f, \; \prod_k d_k = D

    with :math:`i_1 \ldots i_K` the digits of the id in the mixed radix :math:`n_1 \ldots n_K`, and
    :math:`r_0 = r_K = 1`. Published: a train per large field, cores that start from a Gaussian sampled away from zero,
    so that the generated rows are nearly Gaussian.

    This project's own choices: every train gets the same share of its field's weights and the largest common rank
    within that share; then single ranks grow by one as long as the budget allows. Row factors are as equal as they can
    be, and small column factors are inside. The first-order weights have a train of their own, with their share of the
    bytes. The *generated* rows start with the full table's standard deviation (with the published scale they are larger
    by about fourteen times the rank). Cores are not regularised: a product has a saddle at zero, and weight decay would
    drive all rows into it. There is no cache of full rows: it would cost its bytes. Small fields stay uncompressed.
    """

    name: Literal["tt_rec"] = "tt_rec"
    cores: int = Field(default=3, ge=2, le=6)
    """Number K of cores per tensor train."""
    rank: PositiveInt | None = None
    """Rank r of all tensor trains; solved field by field from the budget unless given."""
    ranks: tuple[tuple[tuple[PositiveInt, ...], ...], ...] | None = None
    """Per field and tensor train, the ranks r_1 ... r_(K-1) between its cores; an empty list keeps a field
    uncompressed. Solved from ``rank`` or the budget unless given."""
    learning_rate_factor: PositiveFloat = 3.0
    """Learning rate of the cores relative to the recipe's for embeddings (ours: best of 1, 3 and 10 on KuaiRand)."""

    title: ClassVar[str] = "rows as products of small cores (tensor train)"
    paper: ClassVar[str] = "Yin et al., MLSys 2021, arXiv:2101.11714"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "decomposition"
    unsharded: ClassVar[str] = "all rows are products of small cores"
    saves_training_memory: ClassVar[bool] = True

    @property
    def budgeted(self) -> bool:
        return self.rank is None and self.ranks is None

    def size(self, budget: int, shape: TableShape) -> TTRecSize:
        return self.sparing_small_fields(budget, shape, self._size_with)

    def _size_with(self, threshold: int, budget: int, shape: TableShape) -> TTRecSize:
        rows = [field.cardinality for field in shape.schema.fields]
        if self.ranks is not None:
            if len(self.ranks) != len(rows):
                raise InputError(f"tt_rec: 'ranks' names {len(self.ranks)} fields, the table has {len(rows)}")
            return TTRecSize(threshold, self.ranks)
        if self.rank is not None:
            thin = [[] if n <= threshold else self._thinnest(n, shape) for n in rows]
            return TTRecSize(threshold, tuple(tuple(t.with_rank(self.rank).ranks for t in own) for own in thin))

        def nbytes(share: float) -> int:
            return sum(field_bytes(n, shape, own) for n, own in zip(rows, trains_of(share), strict=True))

        def trains_of(share: float) -> list[list[TrainShape]]:
            return self._trains(shape, share, threshold)

        share = largest_fraction(nbytes, budget, what="tt_rec with trains of rank 1")
        trains = _raised(trains_of(share), shape, budget - nbytes(share))
        return TTRecSize(threshold, tuple(tuple(train.ranks for train in own) for own in trains))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.rows import Rows

        from .rows import TensorTrainRows

        size = self.size(bench.room, bench.shape)
        trains = {f: self._shaped(f, own, bench) for f, own in zip(bench.fields, size.ranks, strict=True) if own}
        small = [f for f in bench.fields if f not in trains]
        with bench.seeded("table"):
            products = TensorTrainRows(
                bench.schema,
                list(trains),
                bench.width,
                list(trains.values()),
                bench.init_std,
                lr_factor=self.learning_rate_factor,
            )
            rows = Rows.initial(bench.schema, small, bench.width, bench.init_std)
        model = bench.model(bench.table(products, rows))
        bench.train(model)
        return model

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "cores": trial.suggest_int("cores", 2, 4),
            "learning_rate_factor": trial.suggest_float("learning_rate_factor", 0.1, 10.0, log=True),
        }

    def _shaped(self, field: int, ranks: Sequence[Sequence[int]], bench: Workbench) -> list[TrainShape]:
        """The trains of a field with these ranks."""
        thinnest = self._thinnest(bench.schema.fields[field].cardinality, bench.shape)
        return [replace(train, ranks=tuple(own)) for train, own in zip(thinnest, ranks, strict=True)]

    def _trains(self, shape: TableShape, share: float, threshold: int) -> list[list[TrainShape]]:
        """Per field, its trains with the largest rank that takes at most ``share`` of its weights, at least rank 1."""
        trains = []
        for n in (field.cardinality for field in shape.schema.fields):
            thinnest = self._thinnest(n, shape)
            own = [train.within(int(share * n * prod(train.columns))) for train in thinnest]
            whole = n <= threshold or share == 1 or sum(t.numbers for t in own) >= n * shape.width
            trains.append([] if whole else own)
        return trains

    def _thinnest(self, rows: int, shape: TableShape) -> list[TrainShape]:
        """The trains of a field of ``rows`` rows, of rank 1: vectors, then first-order weights."""
        from .shapes import TrainShape

        return [TrainShape.of(rows, c, self.cores) for c in (shape.dimension, shape.first_order) if c]


def field_bytes(rows: int, shape: TableShape, trains: Sequence[TrainShape]) -> int:
    """Packed bytes of a field: of its trains, or of uncompressed rows where it has none."""
    from sharkbench.formats.dense import Dense
    from sharkbench.formats.tensor_train import TensorTrain

    if not trains:
        return Dense.bytes_of(rows, shape.width)
    return sum(TensorTrain.bytes_of(train.rows, train.columns, train.ranks) for train in trains)


def _raised(trains: list[list[TrainShape]], shape: TableShape, left: int) -> list[list[TrainShape]]:
    """``trains`` with single ranks raised by one, largest field first, round by round while ``left`` bytes allow."""
    rows = [field.cardinality for field in shape.schema.fields]
    order = sorted(range(len(rows)), key=lambda f: -rows[f])
    trains, changed = [list(own) for own in trains], True
    while changed:
        changed = False
        for f in order:
            for j, train in enumerate(trains[f]):
                for larger in train.raised():
                    cost = 4 * (larger.numbers - train.numbers)
                    if cost <= left and field_bytes(rows[f], shape, trains[f]) + cost < 4 * rows[f] * shape.width:
                        trains[f][j], left, changed = larger, left - cost, True
                        break
    return trains
