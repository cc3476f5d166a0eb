from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from sharkbench.contract.method import Family, Method
from sharkbench.contract.sizing import Size
from sharkbench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.formats.shape import TableShape
    from sharkbench.model.model import Model


class AutoDim(Method):
    r"""Dimensions found by a differentiable search (Zhao et al., "AutoDim: Field-aware Embedding Dimension Search in
    Recommender Systems", WWW 2021).

    .. math:: e_f = \sum_k p_{fk} \operatorname{BN}\bigl(M_{fk}^\top e_f[{:}d_k]\bigr), \qquad
              p_f = \operatorname{softmax}\bigl((\log \operatorname{softmax}(\alpha_f) + G) / \tau\bigr), \;
              G \sim \text{Gumbel}

    The search trains a model whose fields mix candidate dimensions, each projected to the common width and normalised.
    In turns with the model's weights, the logits :math:`\alpha` take a step on a validation batch (first order). Then
    every field gets one dimension, and the model is retrained from scratch with short rows and a matrix per field.
    Published: mixture, normalisation, prefixes of one row as candidates, the alternation, the retraining; the most
    likely candidate is taken whatever it costs (``choose: likeliest``).

    This project's own choices: under a budget, the dimensions with the largest joint probability that fit are taken,
    and the remaining bytes buy single further dimensions; candidates are the width, half of it and so on, down to one
    (where the budget does not hold even the smallest candidate given, fields get fewer dimensions, by the dimension
    that the search expects of each); the candidates of a field share a scale, applied after the normalisation; noise
    and temperature act in training steps only; Adam updates the logits. First-order weights are columns of the
    generated row. A few hundred steps tell little: after one short epoch the probabilities are hardly more than noise.
    """

    name: Literal["autodim"] = "autodim"
    candidates: tuple[PositiveInt, ...] | None = Field(default=None, min_length=2)
    """Candidate dimensions d_k; the width, half of it and so on down to one unless given."""
    choose: Literal["budget", "likeliest"] = "budget"
    """The most likely dimensions within the budget, or the most likely of each field (the paper's; it takes no
    budget)."""
    search_epochs: PositiveInt = 1
    """Epochs of the search."""
    every: PositiveInt = 1
    """Training steps between two steps of the logits alpha."""
    gate_learning_rate: PositiveFloat = 0.01
    """Learning rate of Adam on the logits alpha (ours; public code takes 0.001)."""
    cooling: NonNegativeFloat = 5e-5
    """The temperature tau starts at 1 and falls by this much at every training step, to 0.01."""

    title: ClassVar[str] = "each field's dimension searched by gates, then retrained"
    paper: ClassVar[str] = "Zhao et al., WWW 2021, arXiv:2006.14827 (AutoDim)"
    year: ClassVar[int] = 2021
    family: ClassVar[Family] = "mixed dimension"

    @property
    def budgeted(self) -> bool:
        return self.choose == "budget"

    def size(self, budget: int, shape: TableShape) -> Size:
        from sharkbench.tables.dimensions import refuse_below_one

        # The dimensions are solved from what the search finds.
        rows = [field.cardinality for field in shape.schema.fields]
        refuse_below_one(rows, shape.width, budget, what="autodim")
        return Size()

    def compress(self, bench: Workbench) -> Model:
        from sharkbench.tables.projected import ProjectedRows

        from .mixture import most_likely

        candidates = self._candidates(bench.width)
        logits = self._searched(bench, candidates)
        rows = [field.cardinality for field in bench.shape.schema.fields]
        if self.choose == "likeliest":
            dimensions = [candidates[k] for k in logits.argmax(1).tolist()]
        else:
            dimensions = most_likely(logits, candidates, rows, bench.width, bench.room)
        shares = logits.softmax(1).tolist()
        notes = [
            {
                "field": f.name,
                "rows": f.cardinality,
                "dimension": d,
                **{f"share_{c}": p for c, p in zip(candidates, own, strict=True)},
            }
            for f, d, own in zip(bench.shape.schema.fields, dimensions, shares, strict=True)
        ]
        bench.note("dimensions", notes)
        with bench.seeded("table"):
            table = ProjectedRows(bench.schema, bench.fields, bench.width, dimensions, bench.init_std)
        model = bench.model(bench.table(table))
        bench.train(model, stage="retrain")
        return model

    def _candidates(self, width: int) -> list[int]:
        """Ascending dimensions from 1 to ``width``."""
        if self.candidates is None:
            halves = [width]
            while halves[-1] > 1:
                halves.append((halves[-1] + 1) // 2)
            return halves[::-1]
        candidates = sorted(set(self.candidates))
        if candidates[-1] > width:
            raise InputError(f"autodim: candidate {candidates[-1]} is more than the {width} numbers of a whole row")
        return candidates

    def _searched(self, bench: Workbench, candidates: list[int]) -> Tensor:
        """Logits ``[F, K]`` at the end of the search."""
        from sharkbench.field_selection.gates import GateSearch

        from .mixture import MixedDimensions

        with bench.seeded("search"):
            layer = MixedDimensions(bench.full_table(), candidates, bench.init_std)
        search = GateSearch(bench, every=self.every, learning_rate=self.gate_learning_rate, cooling=self.cooling)
        bench.train(bench.model(layer), stage="search", callbacks=[search], epochs=self.search_epochs)
        return search.logits.detach().cpu()

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        return {
            "search_epochs": trial.suggest_int("search_epochs", 1, 2),
            "gate_learning_rate": trial.suggest_float("gate_learning_rate", 1e-3, 0.1, log=True),
        }
