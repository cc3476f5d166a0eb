from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size

if TYPE_CHECKING:
    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model

    from .rows import SoftThresholdRows


@dataclass(frozen=True)
class PEPSize(Size):
    kept: int
    """Weights of the table that are kept."""


class PEP(Method):
    r"""Plug-in embedding pruning: thresholds are learned with the table, and weights below them are pruned.

    .. math:: \hat{v} = \operatorname{sign}(v) \max(|v| - \sigma(s), 0)

    with thresholds :math:`s` shared as ``granularity`` says. The search ends when at most as many weights are left as
    the budget allows; these are then retrained from the table that the search started from, without thresholds.
    At :math:`s = -150` the loss has no gradient on :math:`s` in fp32, and L2 alone (``threshold_l2``, which Adam turns
    into steps of full length) moves it towards zero; later L2 continues to pull against the loss.

    Published: thresholds, granularities, L2 on them, the stopping rule, training from the initial table. Ours: the
    count of kept weights is solved from the bytes of the packed rows, positions included; where several weights cross
    their threshold together, or the search ends too early, those furthest above their threshold are kept; the pace of
    the thresholds, and an L2 that grows where they converge too early, so that any data set reaches any budget;
    first-order weights are weights of the row like others, and with ``dimension`` they have thresholds of their own.
    Sizes have one gap: from 32,768 kept weights on, each row's counter takes four bytes instead of two.
    """

    name: Literal["pep"] = "pep"

    granularity: Literal["global", "dimension", "feature", "field", "feature_dimension", "field_dimension"] = (
        "feature_dimension"
    )
    """What has a threshold s of its own; a feature is a row."""
    kept: PositiveInt | None = None
    """Number of weights of the table that are kept; solved from the budget unless given."""
    values: Literal["fp32", "fp16"] = "fp32"
    """Data type that a kept weight is stored in."""
    retrain: Literal["initial", "continue", "none"] = "initial"
    """Retrain the kept weights from the initial table with a new backbone, fine-tune them, or leave them as the search
    ends."""
    threshold_start: float | None = None
    """Initial value of every s; unless given, -8, and lower in proportion where the initial table has a standard
    deviation below 0.01: a threshold is then at most a thirtieth of that standard deviation, so that nearly all weights
    are above it and learn (ours; the paper's -15 for small data and -150 for Criteo and Avazu take long to prune
    anything)."""
    threshold_l2: NonNegativeFloat = 1e-5
    """L2 of the thresholds s, coupled: it is part of the gradient that the optimizer sees. With 0 the loss alone moves
    them."""
    threshold_learning_rate: PositiveFloat | None = None
    """Learning rate of the thresholds s; unless given, such that steps of full length bring them to the standard
    deviation of the initial table half way through the search (ours)."""
    search_epochs: PositiveInt = 1
    """Epochs of the search, at most (ours): where tables overfit after one epoch, later magnitudes mislead."""
    look_every: PositiveInt = 5
    """Training steps between two counts of the remaining weights (ours): thresholds should move little in between."""
    epochs: NonNegativeInt = 2
    """Epochs of fine-tuning, at most, with ``retrain: continue`` (ours)."""
    learning_rate_factor: PositiveFloat = 0.3
    """Learning rates of fine-tuning relative to the recipe's (ours)."""

    title: ClassVar[str] = "numbers pruned by learned thresholds"
    paper: ClassVar[str] = "Liu et al., ICLR 2021, arXiv:2101.07577 (PEP)"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "pruning"
    unsharded: ClassVar[str] = "the search counts the weights of the whole table"

    @property
    def budgeted(self) -> bool:
        return self.kept is None

    def size(self, budget: int, shape: TableShape) -> PEPSize:
        from sharkbench.tables.masked import kept_within

        return PEPSize(self.kept or kept_within(budget, shape.rows, shape.width, self.values))

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.contract.passes import retrain_on_mask

        from .rows import PruneToCount

        kept = self.size(bench.room, bench.shape).kept
        rows = self._rows(bench)
        model = bench.model(bench.table(rows))
        search = PruneToCount(rows, kept, every=self.look_every, steps=self._steps(bench))
        # Validation decides nothing here: only sparsity ends the search.
        bench.train(model, stage="search", callbacks=[search], epochs=self.search_epochs, validations_per_epoch=1)
        bench.note("search", search.path)
        return retrain_on_mask(
            bench,
            model,
            rows.table(),
            rows.mask(kept),
            how=self.retrain,
            epochs=self.epochs,
            learning_rate_factor=self.learning_rate_factor,
            values=self.values,
        )

    def _rows(self, bench: Workbench) -> SoftThresholdRows:
        from sharkbench.tables.kept import rows_of

        from .rows import SoftThresholdRows

        table, recipe = bench.full_table(), bench.recipe
        rate, start = self.threshold_learning_rate, self.threshold_start
        if start is None:
            start = -8.0 + min(log(bench.init_std / 0.01), 0.0)
        if rate is None:
            size = min(bench.init_std, 0.5)
            rate = max(log(size / (1 - size)) - start, 1.0) / max(self._steps(bench) / 2, 1)
        return SoftThresholdRows(
            bench.schema,
            table.fields,
            rows_of(table),
            self.granularity,
            start=start,
            lr_factor=rate / (recipe.embedding_learning_rate or recipe.learning_rate),
            l2=self.threshold_l2,
        )

    def _steps(self, bench: Workbench) -> int:
        return self.search_epochs * ceil(len(bench.dataset.splits["train"]) / bench.recipe.batch_size)

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "values": trial.suggest_categorical("values", ["fp32", "fp16"]),
            "granularity": trial.suggest_categorical(
                "granularity", ["dimension", "feature", "field", "feature_dimension", "field_dimension"]
            ),
            "threshold_l2": trial.suggest_float("threshold_l2", 1e-7, 1e-4, log=True),
        }
