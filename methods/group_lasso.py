from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class GroupLasso(FieldSelection):
    r"""Fields ranked by a lasso on gates: one gate per field, a rising L1 penalty, proximal steps.

    .. math:: \min_g \; L\bigl(g_1 e_1, \ldots, g_F e_F\bigr) + \lambda \lVert g \rVert_1, \qquad
              g_f \leftarrow \operatorname{sign}(u_f) \max(|u_f| - \eta_f \lambda, 0), \quad
              u_f = g_f - \eta_f \, \partial_f L

    A gate stands for the group of all weights of its field. The trained model is frozen and only the gates move: a
    model trained along with them could undo the penalty by growing the weights that the gate shrinks. :math:`\lambda`
    rises until the last gate closes, and the score of a field is the mean of its gate over the steps. The penalty is
    that of the group lasso (Yuan and Lin, 2006); gates on a frozen model, the rising penalty and the score are ours,
    and so are the steps: Adam's, with decay rates 0.9 and 0.99 of its means. The final penalty is the steepest slope
    where all gates are at 0.1. Pruning and fine-tuning are those of every field selection here (ours).
    """

    name: Literal["group_lasso"] = "group_lasso"

    steps: PositiveInt = 100
    """Proximal steps, one training batch each (ours)."""
    step_size: PositiveFloat = 0.03
    """Learning rate eta of Adam on the gates g (ours)."""
    floor: float = Field(default=0.01, gt=0, lt=1)
    """Initial penalty lambda as a share of the final one (ours)."""

    title: ClassVar[str] = "fields pruned by a lasso on gates"
    paper: ClassVar[str] = "Yuan and Lin, JRSS B 2006"
    year: ClassVar[int] = 2006

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.gates import lasso_gates

        return lasso_gates(bench, model, steps=self.steps, step_size=self.step_size, floor=self.floor)
