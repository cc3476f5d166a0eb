"""Optimizers that touch only the rows of a table that the batch touched.

Each subclasses torch's optimizer of the same kind: parameters with sparse gradients (every row once, see
:func:`~sharkbench.training.gradients.sum_rows`) are updated here, all others by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sharkbench.model import Model
from sharkbench.training.gradients import sum_rows
from sharkbench.training.recipe import Recipe


def set_aside_sparse(optimizer: torch.optim.Optimizer) -> list[tuple[nn.Parameter, dict[str, Any], Tensor]]:
    """Take the sparse gradients off their parameters: (parameter, its group, gradient)."""
    sparse = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                sparse.append((parameter, group, sum_rows(parameter.grad)))
                parameter.grad = None
    return sparse


class LazyAdam(torch.optim.Adam):
    """Adam whose moments and weights change only in the rows that the gradient has.

    ``m_i, v_i`` of row ``i`` decay when it is touched, not with time; the bias correction counts the steps of the whole
    table. With every row in every batch it is Adam.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = set_aside_sparse(self)
        super().step()
        for parameter, group, gradient in sparse:
            self._update_rows(parameter, group, gradient)
            parameter.grad = gradient
        return loss

    def _update_rows(self, table: nn.Parameter, group: dict[str, Any], gradient: Tensor) -> None:
        rows, g = gradient._indices()[0], gradient._values().flatten(1)
        state, width = self.state[table], g.shape[1]
        if not state:
            state["step"] = 0
            # Both moments of a row lie side by side: one gather and one scatter instead of two.
            state["moments"] = torch.zeros(len(table), 2 * width, dtype=g.dtype, device=g.device)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        moments = state["moments"].index_select(0, rows)
        m, v = moments[:, :width], moments[:, width:]
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        state["moments"].index_copy_(0, rows, moments)
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        denominator = v.sqrt().mul_((1 - beta2 ** state["step"]) ** -0.5).add_(group["eps"])
        weights = table.detach().flatten(1)
        weights.index_copy_(0, rows, weights.index_select(0, rows).addcdiv_(m, denominator, value=-step_size))


class RowwiseAdagrad(torch.optim.Adagrad):
    """Adagrad with one accumulator per row, the mean of the row's squared gradients (as in FBGEMM's tables).

    Parameters with dense gradients get torch's Adagrad, one accumulator per number.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = set_aside_sparse(self)
        super().step()
        for parameter, group, gradient in sparse:
            self._update_rows(parameter, group, gradient)
            parameter.grad = gradient
        return loss

    def _update_rows(self, table: nn.Parameter, group: dict[str, Any], gradient: Tensor) -> None:
        rows, g = gradient._indices()[0], gradient._values().flatten(1)
        state = self.state[table]
        if "rows" not in state:
            state.clear()  # torch prepares a full-sized accumulator
            state["rows"] = torch.zeros(len(table), dtype=g.dtype, device=g.device)
        total = state["rows"].index_select(0, rows) + g.square().mean(1)
        state["rows"].index_copy_(0, rows, total)
        weights = table.detach().flatten(1)
        change = g / (total.sqrt() + group["eps"])[:, None]
        weights.index_copy_(0, rows, weights.index_select(0, rows).sub_(change, alpha=group["lr"]))


def build_optimizer(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, with the groups ``embedding``, ``weights`` and ``biases``.

    Each group names its ``role`` and its ``l2``; biases and one-dimensional parameters are not regularised.
    """
    network = list(model.backbone.parameters())
    rate = recipe.embedding_learning_rate or recipe.learning_rate
    groups: list[dict[str, Any]] = [
        {
            "role": "embedding",
            "params": group["params"],
            "lr": rate * group.get("lr_factor", 1.0),
            "l2": group.get("l2", recipe.embedding_l2),
        }
        for group in model.embedding.parameter_groups()
    ]
    groups += [
        {"role": "weights", "params": [p for p in network if p.ndim > 1], "l2": recipe.network_l2},
        {"role": "biases", "params": [p for p in network if p.ndim <= 1], "l2": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
        case "lazy_adam":
            return LazyAdam(groups, lr=recipe.learning_rate, fused=True)
        case "rowwise_adagrad":
            return RowwiseAdagrad(groups, lr=recipe.learning_rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=recipe.learning_rate)
