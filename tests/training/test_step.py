"""A step of a method's own: with the loop's lines it is the loop, to the bit; what it has at hand does what it says."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.loader import batches
from sharkbench.data.samples import Batch
from sharkbench.errors import Diverged
from sharkbench.model.model import Model
from sharkbench.seeds import derive, seeded
from sharkbench.tasks.ctr.loss import cross_entropy
from sharkbench.training.gradients import clip, regularize, sum_rows
from sharkbench.training.optimizers import OwnOptimizer, build_optimizer
from sharkbench.training.overrides import Overrides
from sharkbench.training.recipe import Recipe
from sharkbench.training.step import Step
from tests.training.test_fit import QUICK, RATES, make_model, train, weights
from tests.training.test_weights import weighted

ONE = QUICK.model_copy(update={"epochs": 1, "embedding_l2": 1e-3, "network_l2": 1e-3, "clip_norm": 0.5})


def by_hand(model: Model, dataset: PreparedDataset, recipe: Recipe, seed: int) -> None:
    """One epoch of the recipe in plain torch; Lightning leaves the first pass over the batches unused."""
    model.embedding.use_sparse_gradients(recipe.sparse)
    optimizer = build_optimizer(model.train(), recipe)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    stream = batches(dataset.splits["train"], recipe.batch_size, seed=derive(seed, "batches"), epoch=1, drop_last=True)
    with seeded(seed, "training"):
        for batch in stream:
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision != "fp32", cache_enabled=False):
                loss = cross_entropy(model(batch.ids, batch.dense), batch.labels, batch.weight)
            optimizer.zero_grad()
            loss.backward()
            for parameter in parameters:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = sum_rows(parameter.grad)
            for group in optimizer.param_groups:
                regularize(group["params"], group["l2"])
            clip(parameters, recipe.clip_norm or 1)
            optimizer.step()


def spelled_out(step: Step) -> Tensor:
    """The loop's step, as a method would write it."""
    loss = step.data_loss()
    step.zero_grad("recipe")
    step.backward(loss)
    step.update("recipe")
    return loss


@pytest.mark.parametrize("weigh", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", RATES)
def test_the_loop_is_these_lines(dataset: PreparedDataset, optimizer: str, precision: str, weigh: bool) -> None:
    changes = {"optimizer": optimizer, "learning_rate": RATES[optimizer], "precision": precision}
    recipe = ONE.model_copy(update=changes)
    data = weighted(dataset) if weigh else dataset
    ends = []
    for overrides in (Overrides(), Overrides(spelled_out), None):
        model = make_model(data, recipe)
        if overrides is None:
            by_hand(model, data, recipe, seed=3)
        else:
            train(model, data, recipe, seed=3, overrides=overrides)
        ends.append(weights(model))
    for name, tensor in ends[0].items():
        assert torch.equal(ends[1][name], tensor), name
        assert torch.equal(ends[2][name], tensor), name


def test_the_loop_s_bookkeeping_is_that_of_any_step(dataset: PreparedDataset) -> None:
    """Rates fall, validations miss, training stops, samples are counted."""
    recipe = QUICK.model_copy(update={"epochs": 50, "min_delta": 1.0, "patience": 3, "lr_factor": 0.5})
    reports = [
        train(make_model(dataset), dataset, recipe, overrides=overrides)
        for overrides in (Overrides(), Overrides(spelled_out))
    ]
    told = [[epoch.model_dump(exclude={"seconds"}) for epoch in report.history] for report in reports]
    assert told[0] == told[1]
    assert len(told[0]) == 4
    assert reports[0].cost.samples == reports[1].cost.samples == 4 * 2000
    assert reports[0].cost.epochs == reports[1].cost.epochs == 4


def test_a_loss_of_a_step_that_is_not_finite_ends_the_training(dataset: PreparedDataset) -> None:
    def broken(step: Step) -> Tensor:
        loss = spelled_out(step)
        return loss * float("nan") if step.number == 10 else loss

    with pytest.raises(Diverged, match=r"nan in epoch 2, step 11\b"):
        train(make_model(dataset), dataset, overrides=Overrides(broken))


def test_a_step_knows_where_it_is(dataset: PreparedDataset) -> None:
    seen = []

    def noted(step: Step) -> Tensor:
        seen.append((step.number, step.epoch, step.samples, len(step.batch.labels)))
        return spelled_out(step)

    train(make_model(dataset), dataset, overrides=Overrides(noted))
    assert seen == [(n, n // 8, 250, 250) for n in range(24)]


def biases(model: Model) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.backbone.parameters() if parameter.ndim == 1]


def test_an_update_moves_what_it_is_for_and_nothing_else(dataset: PreparedDataset) -> None:
    """Steps in turns: on the batch for the rest, on held-out samples for the biases."""
    model = make_model(dataset)
    own = OwnOptimizer("biases", biases(model), partial(torch.optim.SGD, lr=0.1))
    held_out = Batch(*(c if c is None else c[:50] for c in dataset.splits["valid"].samples(slice(None))))
    moved: list[tuple[bool, bool]] = []

    def alternating(step: Step) -> Tensor:
        before = weights(step.model)
        if step.number % 2:
            other = step.on(held_out)
            loss = other.loss()
            other.zero_grad()
            other.backward(loss)
            other.update("biases")
            step.count(len(held_out.labels))
        else:
            loss = spelled_out(step)
        is_bias = {name for name, tensor in step.model.named_parameters() if any(tensor is b for b in own.parameters)}
        changed = {n for n, tensor in step.model.named_parameters() if not torch.equal(tensor.detach(), before[n])}
        moved.append((bool(changed & is_bias), bool(changed - is_bias)))
        return loss

    report = train(model, dataset, ONE, overrides=Overrides(alternating, optimizers=(own,)))
    assert moved == [(False, True), (True, False)] * 4
    assert report.cost.samples == 2000 + 4 * 50


def test_an_optimizer_that_is_not_there_is_named(dataset: PreparedDataset) -> None:
    def wrong(step: Step) -> Tensor:
        loss = step.loss()
        step.update("gate")
        return loss

    with pytest.raises(ValueError, match="no optimizer 'gate'; there are recipe"):
        train(make_model(dataset), dataset, overrides=Overrides(wrong))


def test_gradients_are_changed_before_they_are_clipped(dataset: PreparedDataset) -> None:
    norms: list[float] = []

    def half(model: Model) -> None:
        """Rows of the first half of the table are masked; what is left is large."""
        gradient = model.embedding.parts[0].weight.grad
        gradient[:49] = 0
        gradient *= 1000

    def watched(step: Step) -> Tensor:
        loss = spelled_out(step)
        found = [p.grad.norm() for group in step.optimizers["recipe"].param_groups for p in group["params"]]
        norms.append(float(torch.stack(found).norm()))
        return loss

    recipe = ONE.model_copy(update={"embedding_l2": 0.0})
    model = make_model(dataset, recipe)
    start = model.embedding.parts[0].weight.detach().clone()
    train(model, dataset, recipe, overrides=Overrides(watched, gradients=half))
    assert torch.equal(model.embedding.parts[0].weight[:49], start[:49])
    assert not torch.equal(model.embedding.parts[0].weight[49:], start[49:])
    assert norms == pytest.approx([0.5] * 8, rel=1e-3)


def test_a_gradient_by_one_parameter_leaves_the_others_alone(dataset: PreparedDataset) -> None:
    found: list[Any] = []

    def second_pass(step: Step) -> Tensor:
        loss = step.loss()
        step.zero_grad()
        gradient = step.gradient(step.data_loss(), step.model.embedding.parts[0].weight)
        found.append((gradient, [parameter.grad for parameter in step.model.parameters()]))
        return loss

    model = make_model(dataset)
    train(model, dataset, ONE, overrides=Overrides(second_pass))
    gradient, others = found[0]
    assert gradient.shape == model.embedding.parts[0].weight.shape
    assert gradient.abs().sum() > 0
    assert all(other is None for other in others)
