from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class FPermutation(FieldSelection):
    r"""Fields ranked by the first-order estimate of their permutation importance, all of them at once.

    Permuting field :math:`f` changes its vector by :math:`e_f(x') - e_f(x)`. The change of the loss, to first order and
    with the mean vector in place of the permuted one, is

    .. math:: I_f = \frac{1}{n} \sum_x \Bigl| \sum_d \bigl(\mu_{f,d} - e_{f,d}(x)\bigr)
              \frac{\partial L(x)}{\partial e_{f,d}(x)} \Bigr|, \qquad \mu_f = \frac{1}{n} \sum_x e_f(x)

    on held-out samples, in evaluation mode. The absolute value is taken per sample: the signed sum vanishes for every
    field where the loss is stationary. Two passes over the samples score all fields, however many: one of lookups for
    the mean vectors, one with gradients.

    Published: the first-order term instead of permutations, pruning the tables that score lowest and fine-tuning in
    turns, down to a size or a tolerated loss. Ours: scoring on the validation split, first-order (linear) weights as
    part of a field's vector, the way to combine labels, the size of a round, which is halved where it exceeded the
    tolerance, filling up the budget best first, and fine-tuning that is undone where no validation gains from it.
    """

    name: Literal["f_permutation"] = "f_permutation"

    title: ClassVar[str] = "fields pruned by first-order permutation importance"
    paper: ClassVar[str] = "Zhang et al., CIKM 2023, arXiv:2308.09395 (SHARK, F-Permutation)"
    year: ClassVar[int] = 2023

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.scores import taylor_scores

        return taylor_scores(model, bench.dataset.splits["valid"], bench.task)
