"""Parts of the training loop that a method may replace: step, loss, gradients, optimizers."""

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
    """A method's replacements for parts of the training loop; by default none.

    Attributes:
        step: takes one training step and returns its loss, a finite scalar, which is recorded in the history.
        loss: a scalar that replaces the task's loss.
        teacher: a trained model whose logits are passed to ``loss``; it is in evaluation mode and does not change.
        gradients: called once per update with the model, between L2 and clipping; changes ``grad`` of its parameters.
        optimizers: parameters with their own optimizers, excluded from the recipe's.
    """

    step: Callable[[Step], Tensor] = ordinary
    loss: Callable[[LossInputs], Tensor] | None = None
    teacher: Model | None = None
    gradients: Callable[[Model], None] | None = None
    optimizers: Sequence[OwnOptimizer] = ()

    def functions(self) -> dict[str, object]:
        """The method's own functions, which may hold settings and state, by name."""
        named = {"step": self.step, "loss": self.loss, "gradients": self.gradients}
        makers = {f"optimizer {own.name}": own.make for own in self.optimizers}
        return {name: one for name, one in {**named, **makers}.items() if one is not None}


ORDINARY = Overrides()
