from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class GradientNorm(FieldSelection):
    r"""Fields ranked by the norm of the loss gradient by their vectors, whatever the vectors are.

    .. math:: I_f = \frac{1}{n} \sum_x \Bigl\| \frac{\partial L(x)}{\partial e_f(x)} \Bigr\|_2

    on the validation split. The simplest use of gradients, and the baseline for a first-order score that accounts for
    the spread of a field's vectors. The form is ours, and so are pruning and fine-tuning, which are those of every
    field selection here.
    """

    name: Literal["gradient_norm"] = "gradient_norm"

    title: ClassVar[str] = "fields pruned by the norm of their gradient"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.scores import gradient_norms

        return gradient_norms(model, bench.dataset.splits["valid"], bench.task)
