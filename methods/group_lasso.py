from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sharkbench.field_selection.method import FieldSelection

if TYPE_CHECKING:
    from torch import Tensor

    from sharkbench.contract.workbench import Workbench
    from sharkbench.model.model import Model


class GroupLasso(FieldSelection):
    r"""Fields ranked by a lasso on gates: one gate per field, an L1 penalty that rises, proximal steps.

    .. math:: \min_g \; L\bigl(g_1 e_1, \ldots, g_F e_F\bigr) + \lambda \lVert g \rVert_1, \qquad
              g_f \leftarrow \operatorname{sign}(u_f) \max(|u_f| - \eta_f \lambda, 0), \quad
              u_f = g_f - \eta_f \, \partial_f L

    A gate stands for the group of all weights of its field. The model stays as it was trained and only the gates move:
    were it trained along, it could undo the penalty by growing what the gate shrinks. :math:`\lambda` rises to where
    the last gate closes, and a field scores the mean of its gate on the way. The penalty is that of the group lasso
    (Yuan and Lin, 2006); gates on a frozen model, the rising penalty and the score are ours, and so are the steps:
    Adam's, with 0.9 and 0.99 for its means, the end of the penalty being the steepest slope where all gates are at 0.1.
    Pruning and fine-tuning are those of every field selection here (ours).
    """

    name: Literal["group_lasso"] = "group_lasso"

    steps: PositiveInt = 100
    """Proximal steps, one training batch each (ours)."""
    step_size: PositiveFloat = 0.03
    """Of Adam on the gates (ours)."""
    floor: float = Field(default=0.01, gt=0, lt=1)
    """The penalty starts at this share of its end (ours)."""

    title: ClassVar[str] = "fields pruned by a lasso on gates"
    paper: ClassVar[str] = "Yuan and Lin, JRSS B 2006"
    year: ClassVar[int] = 2006

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        from sharkbench.field_selection.gates import lasso_gates

        return lasso_gates(bench, model, steps=self.steps, step_size=self.step_size, floor=self.floor)
