"""How a training departs from the ordinary loop: a step, a loss, gradients or optimizers of a method's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from sharkbench.model.model import Model
from sharkbench.training.losses import LossInputs
from sharkbench.training.optimizers import OwnOptimizer
from sharkbench.training.step import Step, ordinary


@dataclass(frozen=True)
class Overrides:
    """What a method does in its own way while a model trains; by default nothing.

    Attributes:
        step: takes one training step and returns its loss, a scalar, which is told in histories and must be finite.
        loss: a scalar in place of the task's loss.
        teacher: a trained model whose logits ``loss`` is told; it is in evaluation mode and does not change.
        gradients: called once per update with the model, between L2 and clipping; changes ``grad`` of its parameters.
        optimizers: parameters that are not for the recipe's optimizer.
    """

    step: Callable[[Step], Tensor] = ordinary
    loss: Callable[[LossInputs], Tensor] | None = None
    teacher: Model | None = None
    gradients: Callable[[Model], None] | None = None
    optimizers: Sequence[OwnOptimizer] = ()

    def functions(self) -> dict[str, object]:
        """Code of the method's own that may hold settings and state, by name."""
        named = {"step": self.step, "loss": self.loss, "gradients": self.gradients}
        makers = {f"optimizer {own.name}": own.make for own in self.optimizers}
        return {name: one for name, one in {**named, **makers}.items() if one is not None}


ORDINARY = Overrides()
