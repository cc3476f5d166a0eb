"""ALPT: the gradient of a step size, the three steps of an update by hand, and that learning the steps helps."""

from __future__ import annotations

from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sharkbench.methods.alpt.rows import FieldSteps, RowSteps, SteppedRows, step_gradient
from sharkbench.methods.alpt.steps import LearnedSteps, ThreeSteps
from torch import Tensor, nn

from sharkbench.contract import registry
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.schema import Field, Schema
from sharkbench.model.model import Model
from sharkbench.tables.code_store import SeededGenerator
from sharkbench.tables.parts import Table
from sharkbench.training.optimizers import LazyAdam, RowwiseSGD
from tests.methods.planted import bench_on, planted

BITS = [8, 4, 2]


# The gradient ---------------------------------------------------------------------------------------------------------


@given(bits=st.sampled_from(BITS), step=st.floats(1e-4, 1), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_step_gradient_is_autograd_s_through_straight_rounding(bits: int, step: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    body = torch.randn(5, 6, generator=generator) * step * 2 ** (bits - 1)
    weight = torch.randn(5, 6, generator=generator)
    steps = torch.full((5,), step).requires_grad_()
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    inside = (body / steps[:, None]).clamp(low, high)
    rounded = inside + (inside.round() - inside).detach()  # the gradient passes rounding as if it were nothing
    (weight * rounded * steps[:, None]).sum().backward()

    torch.testing.assert_close(step_gradient(body, steps.detach(), weight, bits), steps.grad, rtol=1e-4, atol=1e-4)


def test_step_gradient_number_by_number() -> None:
    # Steps of 1, two bits: codes from -2 to 1.
    body = torch.tensor([[0.3, 0.8, 3.0, -5.0, -1.6]])
    by_hand = [0 - 0.3, 1 - 0.8, 1, -2, -2 + 1.6]
    for k, expected in enumerate(by_hand):
        one = torch.zeros(1, 5)
        one[0, k] = 1.0
        assert step_gradient(body, torch.ones(1), one, bits=2).item() == pytest.approx(expected)


# The three steps ------------------------------------------------------------------------------------------------------

SCHEMA, WIDTH, TAIL = Schema((Field("a", 6), Field("b", 4)), ("click",)), 5, 1
IDS = torch.tensor([[0, 6], [2, 7], [2, 9]])


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, WIDTH), requires_grad=False)

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        return (vectors * self.weight).sum((1, 2))[:, None]


class Moment:
    """What the three steps ask of a training step."""

    def __init__(self, model: Model, labels: Tensor, optimizers: dict[str, torch.optim.Optimizer]) -> None:
        self.model, self.labels, self.optimizers, self.samples = model, labels, optimizers, len(labels)

    def loss(self) -> Tensor:
        return (self.model(IDS, torch.empty(3, 0)) - self.labels).square().sum()

    data_loss = loss

    def zero_grad(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def gradient(self, loss: Tensor, parameter: nn.Parameter) -> Tensor:
        return torch.autograd.grad(loss, [parameter])[0]

    def update(self, name: str) -> None:
        self.optimizers[name].step()


def store_of(step: str, bits: int, start: float) -> SteppedRows:
    chance = SeededGenerator(0, "rounding")
    made = RowSteps(10, WIDTH, TAIL, bits, chance) if step == "row" else FieldSteps(SCHEMA, WIDTH, TAIL, bits, chance)
    made.fill(lambda n: torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(3)), start)
    return made


def one_update(store: SteppedRows, rate: float, step_rate: float, labels: Tensor, of_steps: Any = RowwiseSGD) -> None:
    part = LearnedSteps(SCHEMA, (0, 1), store, store, partial(of_steps, lr=step_rate))
    rows, steps = part.parameter_groups()
    optimizers = {"recipe": RowwiseSGD(rows["params"], lr=rate), steps["name"]: steps["optimizer"](steps["params"])}
    layer = Table(SCHEMA, WIDTH, [part])
    ThreeSteps(part)(Moment(Model(layer, Head()), labels, optimizers))  # type: ignore[arg-type]
    assert not store.held


@pytest.mark.parametrize("step", ["row", "field"])
@pytest.mark.parametrize("bits", BITS)
def test_an_update_is_the_three_steps_by_hand(step: str, bits: int) -> None:
    rate, step_rate, labels = 0.05, 0.02, torch.tensor([[1.0], [-2.0], [0.5]])
    store, rows, start = store_of(step, bits, 0.25), torch.arange(10), 0.25
    before, low, high = store.read(rows), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    touched, weight = IDS.unique(), Head().weight

    # First: the optimizer's step in float.
    table = before.clone().requires_grad_()
    ((table[IDS] * weight).sum((1, 2))[:, None] - labels).square().sum().backward()
    updated = before - rate * table.grad
    # Second: the same batch, rows rounded to the nearest, for the steps.
    units = rows if step == "row" else torch.tensor([0] * 6 + [1] * 4)
    steps = torch.full((int(units.max()) + 1,), start).requires_grad_()
    places = updated[:, :-TAIL] / steps[units][:, None]
    inside = places.clamp(low, high)
    rounded = torch.cat([(inside + (inside.round() - inside).detach()) * steps[units][:, None], updated[:, -TAIL:]], 1)
    ((rounded[IDS] * weight).sum((1, 2))[:, None] - labels).square().sum().backward()
    scale = 1 / sqrt(3 * (WIDTH - TAIL) * high)
    new_steps = (steps - step_rate * scale * steps.grad).detach()

    one_update(store, rate, step_rate, labels)

    all_units = torch.arange(store.num_units)
    torch.testing.assert_close(store.steps(all_units), new_steps, rtol=1.1e-3 if step == "row" else 1e-4, atol=0)
    # Third: rounded by chance, so to a neighbour on the new grid.
    grid = store.steps(store.units(touched))[:, None]
    kept, places = store.read(touched)[:, :-TAIL] / grid, updated[touched][:, :-TAIL] / grid
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-3)
    assert ((kept - places.clamp(low, high)).abs() < 1 + 1e-3).all()
    torch.testing.assert_close(store.read(touched)[:, -TAIL:], updated[touched][:, -TAIL:], rtol=1e-3, atol=1e-6)
    if step == "row":
        others = torch.tensor([r for r in range(10) if r not in touched.tolist()])
        torch.testing.assert_close(store.read(others), before[others], rtol=0, atol=0)


@pytest.mark.parametrize("step", ["row", "field"])
def test_writes_are_right_on_average(step: str) -> None:
    store, rows = store_of(step, 4, 0.25), torch.arange(10)
    values = torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(5)) / 2
    drawn = []
    for _ in range(1500):
        store.write(rows, values)
        drawn.append(store.read(rows))
    drawn = torch.stack(drawn).double()
    assert ((drawn.mean(0) - values).abs() < 5 * drawn.std(0) / 1500**0.5 + 1e-9).all()


@pytest.mark.parametrize("step", ["row", "field"])
def test_what_waits_is_read_rounded_to_the_nearest(step: str) -> None:
    store = store_of(step, 8, 0.25)
    before, rows = store.read(torch.arange(10)), torch.tensor([1, 4, 7])
    with store.holding():
        store.write(rows, torch.full((3, WIDTH), 0.4))
        read = store.read(torch.arange(10))
        expected = before.clone()
        expected[rows] = torch.tensor([0.5] * (WIDTH - TAIL) + [0.4] * TAIL)
        torch.testing.assert_close(read, expected)
        store.release()
    released = store.read(rows)[:, : WIDTH - TAIL]
    assert ((released == 0.25) | (released == 0.5)).all()


# The method -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return planted(12_000)


@pytest.mark.parametrize("step", ["row", "field"])
@pytest.mark.parametrize("backbone", ["dnn", "deepfm"])
def test_bytes_are_exact_and_what_is_served_is_what_was_trained(
    step: str, backbone: str, dataset: PreparedDataset, tmp_path: Path
) -> None:
    bench = bench_on(dataset, tmp_path, backbone, budget=0.85, epochs=1)
    method = registry.parse({"name": "alpt", "step": step, "bits": 4})
    model = method.compress(bench).eval()
    packed, ids = model.pack().layer, dataset.splits["valid"].ids

    torch.testing.assert_close(packed(ids), model.embedding(ids), rtol=0, atol=0)
    if step == "row":
        assert bench.budget - 4 * bench.width - 60 < packed.nbytes <= bench.budget
    else:
        assert packed.nbytes == bench.schema.num_rows * (2 + 2 * bench.first_order) + 8 * 16 * 4


@pytest.mark.parametrize("bits", BITS)
def test_rows_start_with_the_spread_of_full_rows(bits: int, dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(planted(2000), tmp_path, "dnn", epochs=1, init_std=0.1, learning_rate=1e-30)
    model = registry.parse({"name": "alpt", "bits": bits, "cache": 0, "learned": False}).compress(bench)
    rows = model.embedding.parts[0].store.read(torch.arange(bench.schema.num_rows))
    assert rows.std().item() == pytest.approx(0.1, rel=0.1)


def test_a_cache_needs_a_step_per_row() -> None:
    with pytest.raises(ValidationError, match="step: row"):
        registry.parse({"name": "alpt", "step": "field", "cache": 0.1})


def auc(bench: Workbench, **settings: object) -> float:
    model = registry.parse({"name": "alpt", "cache": 0, **settings}).compress(bench)
    return bench.evaluate(model)["click"]["auc"]


@pytest.mark.parametrize("step", ["row", "field"])
def test_learned_steps_beat_fixed_ones_that_were_chosen_badly(
    step: str, dataset: PreparedDataset, tmp_path: Path
) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", epochs=3, init_std=0.1, optimizer="lazy_adam")
    bad = {"bits": 4, "step": step, "initial_step": 1e-3}
    assert auc(bench, **bad) > auc(bench, **bad, learned=False) + 0.01


def test_hot_rows_learn_in_full_precision_beside_it(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path, "dnn", epochs=2, init_std=0.1)
    model = registry.parse({"name": "alpt", "bits": 2, "cache": 0.3}).compress(bench)
    store = model.embedding.parts[0].store
    assert len(store.keys) == round(0.3 * bench.schema.num_rows)
    counts = torch.from_numpy(dataset.schema.frequencies)
    cold = torch.ones(len(counts), dtype=torch.bool).index_fill_(0, store.keys.long(), False)
    assert counts[~cold].min() >= counts[cold].max()
    assert store.values.unique().numel() > 0.9 * store.values.numel()
    assert not store.cold.held


@pytest.mark.parametrize("step", ["row", "field"])
def test_steps_are_adapted_by_adam_with_the_batch_s_units_only(step: str) -> None:
    store = store_of(step, 8, 0.25)
    touched = IDS.unique() if step == "row" else torch.tensor([0, 1])
    one_update(store, 0.05, 0.01, torch.tensor([[1.0], [-2.0], [0.5]]), of_steps=LazyAdam)
    moved = (store.steps(torch.arange(store.num_units)) - 0.25).abs()
    # Adam's first step is as long as the learning rate; fp16 holds it to 11 bits of the step.
    torch.testing.assert_close(moved[touched], torch.full((len(touched),), 0.01), rtol=0, atol=2.5e-4)
    others = torch.ones(store.num_units, dtype=torch.bool).index_fill_(0, touched, False)
    assert not moved[others].any()
