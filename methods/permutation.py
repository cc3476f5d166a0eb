from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model
    from sharkbench.tasks.base import Task


class Permutation(FieldSelection):
    r"""Fields ranked by exact permutation importance: how much shuffling a field's values harms the trained model.

    .. math:: I_f = \frac{1}{T} \sum_{t=1}^{T} \bigl( L(x \text{ with } x_f \text{ permuted by } \pi_t) - L(x) \bigr)

    on the validation split, measured by the loss or by the fall of a metric; it takes :math:`F T` passes over the
    split. The definition is Breiman's, for a model that is not retrained; he shuffles out-of-bag samples and counts
    errors. The split, both measures, and their mean over shuffles and labels are ours. Pruning and fine-tuning are
    those of every field selection here (ours).
    """

    name: Literal["permutation"] = "permutation"

    shuffles: PositiveInt = 3
    """Shuffles per field, T (ours)."""
    measure: str = "loss"
    """Rank by the rise of the ``loss``, or, given the name of a metric of the task, by how much worse it gets."""

    title: ClassVar[str] = "fields pruned by exact permutation importance"
    paper: ClassVar[str] = "Breiman, Machine Learning 2001"
    year: ClassVar[int] = 2001

    def check_task(self, task: Task) -> None:
        task.loss_or_metric(self.measure)

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.scores import permutation_scores

        valid = bench.dataset.splits["valid"]
        metric = bench.task.loss_or_metric(self.measure)
        generator = bench.generator("permutation")
        return permutation_scores(model, valid, bench.task, self.shuffles, generator)[metric.name]
