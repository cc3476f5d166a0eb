from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class AutoField(FieldSelection):
    r"""Fields ranked by a differentiable search: gates learn from validation batches, weights from training ones.

    .. math:: e_f \leftarrow g_f e_f, \qquad g_f = \operatorname{softmax}((\alpha_f + G) / \tau)_{\text{keep}},
              \quad \alpha_f \in \mathbb{R}^2, \; G \sim \text{Gumbel}

    The search trains a model from scratch with gates; every few steps the logits take an Adam step on a validation
    batch (first order). The score of a field is the logit of keeping it minus that of dropping it. Published:
    controller, gates, the alternation; the initial logits of 0.5 and the temperature are those of public code. Ours: no
    noise in evaluation, the temperature falls with training steps only, a search of one epoch (``search_epochs``),
    repeated on the remaining fields in each round of pruning, gates updated often enough to separate fields on small
    data, and the score (public code ranks by the logit of keeping alone). Pruning and fine-tuning are those of every
    field selection here (ours); public code retrains from scratch, which is ``schedule: one_shot``.
    """

    name: Literal["autofield"] = "autofield"

    search_epochs: PositiveInt = 1
    """Epochs of the search."""
    every: PositiveInt = 2
    """Training steps between two steps of the logits alpha (ours; public code takes 10)."""
    gate_learning_rate: PositiveFloat = 0.01
    """Learning rate of Adam on the logits alpha (ours; public code takes 0.001)."""
    cooling: NonNegativeFloat = 5e-5
    """The temperature tau starts at 1 and falls by this much at every training step, to 0.01."""

    title: ClassVar[str] = "fields pruned by differentiable gates"
    paper: ClassVar[str] = "Wang et al., WWW 2022, arXiv:2204.09078 (AutoField)"
    year: ClassVar[int] = 2022

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.gates import searched_gates
        from sharkbench.tables.kept import keep_fields

        return searched_gates(
            bench,
            keep_fields(bench.full_table(), model.embedding.fields),
            epochs=self.search_epochs,
            every=self.every,
            learning_rate=self.gate_learning_rate,
            cooling=self.cooling,
        )
