"""Optimizers of a layer's and a method's own, beside the recipe's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.schema import Schema
from sharkbench.tables.parts import Slots
from sharkbench.tables.rows import Rows
from sharkbench.training.optimizers import OwnOptimizer, build_optimizers
from sharkbench.training.overrides import Overrides
from tests.training.test_fit import QUICK, make_model, train

SGD = partial(torch.optim.SGD, lr=0.5)


class Scaled(Rows):
    """``s_f e_i``: a scale per field, by an optimizer of the layer's own."""

    def __init__(self, schema: Schema, fields: Sequence[int], weight: Tensor, *, follows: bool = True) -> None:
        super().__init__(schema, fields, weight)
        self.scale = torch.nn.Parameter(torch.ones(len(self.fields), 1))
        self.follows = follows

    def forward(self, slots: Slots) -> Tensor:
        return super().forward(slots) * self.scale[slots.owner]

    def parameter_groups(self) -> list[dict[str, Any]]:
        own = {"params": [self.scale], "optimizer": SGD, "name": "scale", "follows": self.follows}
        return [{"params": [self.weight]}, own]


def test_each_optimizer_has_its_parameters_and_no_other(dataset: PreparedDataset) -> None:
    model = make_model(dataset, QUICK, Scaled)
    first = next(iter(model.backbone.parameters()))
    own = OwnOptimizer("first", [first], partial(torch.optim.Adam, lr=1e-4, weight_decay=0.1))
    made = build_optimizers(model, QUICK, [own])
    assert list(made) == ["recipe", "scale", "first"]
    parameters = [[p for group in made[name].param_groups for p in group["params"]] for name in made]
    assert parameters[1] == [model.embedding.parts[0].scale]
    assert parameters[2] == [first]
    assert {id(p) for part in parameters for p in part} == {id(p) for p in model.parameters()}
    assert sum(map(len, parameters)) == len(list(model.parameters()))
    assert isinstance(made["first"], torch.optim.Adam)
    assert made["first"].param_groups[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("follows", [True, False])
def test_rates_follow_the_recipe_s_or_stay(dataset: PreparedDataset, follows: bool) -> None:
    rates: list[float] = []

    def noted(step: Any) -> torch.Tensor:
        from sharkbench.training.step import ordinary

        rates.append(step.optimizers["scale"].param_groups[0]["lr"])
        return ordinary(step)

    recipe = QUICK.model_copy(update={"epochs": 50, "min_delta": 1.0, "patience": 3, "lr_factor": 0.5})
    table: Any = partial(Scaled, follows=follows)
    train(make_model(dataset, recipe, table), dataset, recipe, overrides=Overrides(noted))
    assert rates[::8] == pytest.approx([0.5, 0.5, 0.25, 0.125] if follows else [0.5] * 4)


def test_the_ordinary_loop_lets_every_optimizer_step(dataset: PreparedDataset) -> None:
    model = make_model(dataset, QUICK, Scaled)
    train(model, dataset)
    assert (model.embedding.parts[0].scale != 1).all()


def test_what_an_optimizer_of_its_own_moves_is_not_clipped_or_regularised(dataset: PreparedDataset) -> None:
    recipe = QUICK.model_copy(update={"epochs": 1, "clip_norm": 1e-12, "network_l2": 0.0, "embedding_l2": 0.0})
    model = make_model(dataset, recipe, Scaled)
    start = model.embedding.parts[0].weight.detach().clone()
    sgd = recipe.model_copy(update={"optimizer": "sgd"})
    train(model, dataset, sgd)
    torch.testing.assert_close(model.embedding.parts[0].weight.detach(), start, rtol=0, atol=1e-10)
    assert ((model.embedding.parts[0].scale - 1).abs() > 1e-6).all()


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("name", "two optimizers are called 'scale'"),
        ("recipe", "two optimizers are called 'recipe'"),
        ("twice", "a parameter of optimizer 'scale' has another optimizer of its own too"),
        ("foreign", "a parameter of optimizer 'x' is not the model's"),
        ("all", "leave no parameter to the recipe's"),
    ],
)
def test_mistakes_are_named(dataset: PreparedDataset, mistake: str, said: str) -> None:
    model = make_model(dataset, QUICK, Scaled)
    network = list(model.backbone.parameters())
    own = {
        "name": OwnOptimizer("scale", network[:1], SGD),
        "recipe": OwnOptimizer("recipe", network[:1], SGD),
        "twice": OwnOptimizer("x", [model.embedding.parts[0].scale], SGD),
        "foreign": OwnOptimizer("x", [torch.nn.Parameter(torch.zeros(1))], SGD),
        "all": OwnOptimizer("x", [*network, model.embedding.parts[0].weight], SGD),
    }
    with pytest.raises(ValueError, match=said):
        build_optimizers(model, QUICK, [own[mistake]])
