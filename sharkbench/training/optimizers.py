"""Optimizers that update only the rows of a table that occur in the batch.

Each subclasses torch's optimizer of the same kind: parameters with sparse gradients (every row once, see
:func:`~sharkbench.training.gradients.sum_rows`) are updated here, all others by torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.model.model import Model
from sharkbench.tables.row_store import read_rows, write_rows
from sharkbench.training.gradients import sum_rows
from sharkbench.training.recipe import Recipe

RECIPE = "recipe"
"""Name of the recipe's optimizer, besides those of layers and methods."""


@dataclass(frozen=True)
class OwnOptimizer:
    """Parameters of a layer or a backbone with their own optimizer.

    The recipe's L2 regularisation and clipping do not apply to them; ``make`` may set weight decay.

    Attributes:
        name: name of the optimizer in a step.
        parameters: parameters of the trained model.
        make: creates the optimizer, with its learning rate: ``partial(torch.optim.Adam, lr=1e-4)``.
        follows: whether its learning rates are lowered in proportion to those of the recipe.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    follows: bool = True


def set_aside_sparse(optimizer: torch.optim.Optimizer) -> list[tuple[nn.Parameter, dict[str, Any], Tensor]]:
    """Remove the sparse gradients from their parameters; returns (parameter, its group, gradient)."""
    sparse = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                sparse.append((parameter, group, sum_rows(parameter.grad)))
                parameter.grad = None
    return sparse


class RowUpdates(torch.optim.Optimizer):
    """Mixin to put before an optimizer of torch: sparse gradients go to :meth:`update_rows`."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = set_aside_sparse(self)
        super().step()
        for parameter, group, gradient in sparse:
            self.update_rows(parameter, group, gradient._indices()[0], gradient._values().flatten(1))
            parameter.grad = gradient
        return loss

    @abstractmethod
    def update_rows(self, table: nn.Parameter, group: dict[str, Any], rows: Tensor, g: Tensor) -> None:
        """Update ``rows`` ``[n]`` (each once) with their gradient ``g`` ``[n, width]``."""


class LazyAdam(RowUpdates, torch.optim.Adam):
    """Adam that updates moments and weights only in the rows of the gradient.

    ``m_i, v_i`` of row ``i`` decay only when the row is updated; the bias correction counts the steps of the whole
    table. If every batch has every row, it equals Adam.
    """

    def update_rows(self, table: nn.Parameter, group: dict[str, Any], rows: Tensor, g: Tensor) -> None:
        state, width = self.state[table], g.shape[1]
        if not state:
            state["step"] = 0
            # Both moments of a row are adjacent: one gather and one scatter instead of two.
            state["moments"] = torch.zeros(len(table), 2 * width, dtype=g.dtype, device=g.device)
        # A plain number again: torch makes it a float tensor when a state is loaded, which rounds differently.
        state["step"] = int(state["step"]) + 1
        beta1, beta2 = group["betas"]
        moments = state["moments"].index_select(0, rows)
        m, v = moments[:, :width], moments[:, width:]
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        state["moments"].index_copy_(0, rows, moments)
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        denominator = v.sqrt().mul_((1 - beta2 ** state["step"]) ** -0.5).add_(group["eps"])
        write_rows(table, rows, read_rows(table, rows).addcdiv_(m, denominator, value=-step_size))


class RowwiseAdagrad(RowUpdates, torch.optim.Adagrad):
    """Adagrad with one accumulator per row, the mean of the row's squared gradients (as in FBGEMM's tables).

    Parameters with dense gradients get torch's Adagrad, with one accumulator per weight.
    """

    def __init__(self, params: Iterable[Any], **settings: Any) -> None:
        listed = list(params)
        groups = [dict(g) for g in listed] if isinstance(listed[0], dict) else [{"params": listed}]
        # Torch would allocate an accumulator per weight, which a large table must not have even briefly. Parameters
        # with dense gradients get theirs at their first step.
        parameters = [list(group["params"]) for group in groups]
        super().__init__([{**group, "params": []} for group in groups], **settings)
        for group, own in zip(self.param_groups, parameters, strict=True):
            group["params"] += own

    def update_rows(self, table: nn.Parameter, group: dict[str, Any], rows: Tensor, g: Tensor) -> None:
        state = self.state[table]
        if "rows" not in state:
            state["step"] = torch.tensor(0.0)  # torch needs it when a state is loaded
            state["rows"] = torch.zeros(len(table), dtype=g.dtype, device=g.device)
        total = state["rows"].index_select(0, rows) + g.square().mean(1)
        state["rows"].index_copy_(0, rows, total)
        change = g / (total.sqrt() + group["eps"])[:, None]
        write_rows(table, rows, read_rows(table, rows).sub_(change, alpha=group["lr"]))


class RowwiseSGD(RowUpdates, torch.optim.SGD):
    """Gradient descent without momentum, in the rows of the gradient."""

    def update_rows(self, table: nn.Parameter, group: dict[str, Any], rows: Tensor, g: Tensor) -> None:
        write_rows(table, rows, read_rows(table, rows).sub_(g, alpha=group["lr"]))


def build_optimizers(
    model: Model, recipe: Recipe, own: Sequence[OwnOptimizer] = ()
) -> dict[str, torch.optim.Optimizer]:
    """All optimizers by name: ``"recipe"`` is the recipe's, the others are those of the layer and of the method.

    Raises:
        ValueError: a name or a parameter occurs twice, or a parameter is not part of the model.
    """
    own = [*_of_layer(model), *own]
    _check_own(model, own)
    apart = {id(parameter) for one in own for parameter in one.parameters}
    made = {RECIPE: build_optimizer(model, recipe, apart)}
    for one in own:
        made[one.name] = one.make(list(one.parameters))
    follows = {one.name: one.follows for one in own}
    for name, optimizer in made.items():
        for group in optimizer.param_groups:
            group.setdefault("l2", 0.0)
            group["initial_lr"], group["follows"] = group["lr"], follows.get(name, True)
    return made


def slow_down(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Multiply the learning rates of the recipe's optimizer, the first, by ``factor``; optimizers that follow it keep
    their proportion to the embedding layer's learning rate."""
    recipes, *own = optimizers
    for group in recipes.param_groups:
        group["lr"] *= factor
    leading = recipes.param_groups[0]
    for optimizer in own:
        for group in optimizer.param_groups:
            if group["follows"]:
                group["lr"] = group["initial_lr"] * leading["lr"] / leading["initial_lr"]


def build_optimizer(model: Model, recipe: Recipe, apart: set[int] | None = None) -> torch.optim.Optimizer:
    """The recipe's optimizer, with the groups ``embedding``, ``weights`` and ``biases``.

    Each group names its ``role`` and its ``l2``; biases and one-dimensional parameters are not regularised.

    Args:
        apart: ids of the parameters that other optimizers update.

        Raises:
            ValueError: no parameter is left for it.
    """
    apart = apart or set()
    network = [parameter for parameter in model.backbone.parameters() if id(parameter) not in apart]
    rate = recipe.embedding_learning_rate or recipe.learning_rate
    groups: list[dict[str, Any]] = [
        {
            "role": "embedding",
            "params": [parameter for parameter in group["params"] if id(parameter) not in apart],
            "lr": rate * group.get("lr_factor", 1.0),
            "l2": group.get("l2", recipe.embedding_l2 * group.get("l2_factor", 1.0)),
        }
        for group in model.embedding.parameter_groups()
    ]
    groups += [
        {"role": "weights", "params": [p for p in network if p.ndim > 1], "l2": recipe.network_l2},
        {"role": "biases", "params": [p for p in network if p.ndim <= 1], "l2": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("own optimizers leave no parameter to the recipe's; leave it the embedding layer or backbone")
    match recipe.optimizer:
        case "adam" | "lazy_adam":  # the gradient of a table decides which of the two it gets: dense or sparse
            return LazyAdam(groups, lr=recipe.learning_rate, fused=True)
        case "rowwise_adagrad":
            return RowwiseAdagrad(groups, lr=recipe.learning_rate)
        case "sgd":
            return RowwiseSGD(groups, lr=recipe.learning_rate)


def _of_layer(model: Model) -> list[OwnOptimizer]:
    """The optimizers of the embedding layer's groups that have their own."""
    return [
        OwnOptimizer(
            group.get("name", f"embedding {number}"), group["params"], group["optimizer"], group.get("follows", True)
        )
        for number, group in enumerate(model.embedding.parameter_groups())
        if "optimizer" in group
    ]


def _check_own(model: Model, own: Sequence[OwnOptimizer]) -> None:
    names = Counter([RECIPE, *(one.name for one in own)])
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"two optimizers are called '{twice[0]}'; give each a name of its own")
    parameters = Counter(id(parameter) for one in own for parameter in one.parameters)
    known = {id(p) for p in model.parameters()} | {
        id(p) for g in model.embedding.parameter_groups() for p in g["params"]
    }
    for one in own:
        if any(parameters[id(parameter)] > 1 for parameter in one.parameters):
            raise ValueError(f"a parameter of optimizer '{one.name}' has another optimizer of its own too")
        if any(id(parameter) not in known for parameter in one.parameters):
            raise ValueError(
                f"a parameter of optimizer '{one.name}' is not the model's; register it with the layer or backbone"
            )
