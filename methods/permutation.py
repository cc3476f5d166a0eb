from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class Permutation(FieldSelection):
    r"""Fields ranked by exact permutation importance: what shuffling a field's values does to the trained model.

    .. math:: I_f = \frac{1}{T} \sum_{t=1}^{T} \bigl( L(x \text{ with } x_f \text{ permuted by } \pi_t) - L(x) \bigr)

    on the validation split, by log loss or by the fall of AUC; :math:`F T` passes over it. The definition is Breiman's,
    for a model that is not retrained; he shuffles out-of-bag samples and counts errors. The split, both measures, and
    their mean over shuffles and labels are ours. Pruning and fine-tuning are those of every field selection here
    (ours).
    """

    name: Literal["permutation"] = "permutation"

    shuffles: PositiveInt = 3
    """Shuffles per field, ``T`` (ours)."""
    measure: Literal["loss", "auc"] = "loss"
    """Rank by the rise of the log loss, or by the fall of the AUC."""

    title: ClassVar[str] = "fields pruned by exact permutation importance"
    paper: ClassVar[str] = "Breiman, Machine Learning 2001"
    year: ClassVar[int] = 2001

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.scores import permutation_scores

        valid = bench.dataset.splits["valid"]
        loss, auc = permutation_scores(model, valid, bench.task, self.shuffles, bench.generator("permutation"))
        return loss if self.measure == "loss" else auc
