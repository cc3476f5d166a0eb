from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class GradientNorm(FieldSelection):
    r"""Fields ranked by how strongly the loss reacts to their vectors, whatever the vectors are.

    .. math:: I_f = \frac{1}{n} \sum_x \Bigl\| \frac{\partial L(x)}{\partial e_f(x)} \Bigr\|_2

    on the validation split. The simplest use of gradients, and what a first-order score that knows how far a field's
    vectors reach is to be compared with. The form is ours, and so are pruning and fine-tuning, those of every field
    selection here.
    """

    name: Literal["gradient_norm"] = "gradient_norm"

    title: ClassVar[str] = "fields pruned by the norm of their gradient"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 0

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.scores import gradient_norms

        return gradient_norms(model, bench.dataset.splits["valid"], bench.task)
