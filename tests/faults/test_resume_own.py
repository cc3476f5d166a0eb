"""Trainings with a step, a loss or optimizers of a method's own go on after a kill like any other, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.contract.workbench import Workbench
from sharkbench.data.schema import Schema
from sharkbench.model.model import Model
from sharkbench.tables.kept import rows_of
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from sharkbench.training import kept
from sharkbench.training.losses import Distillation, LossInputs
from sharkbench.training.module import CtrModule
from sharkbench.training.optimizers import OwnOptimizer
from sharkbench.training.step import Step, ordinary
from tests.faults.counting import Count

EPOCHS = 4


class Killed(Exception):
    """Stands for a kill: nothing of the training's process is used after it."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch."""
    monkeypatch.setattr(kept, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(kept, "COST", 0)


class Fate:
    """Ends training in the middle of an epoch, and says in which it began. Outside of the training: by its module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kill_in: int | None = None
        self.began_in: list[int] = []
        step, start = CtrModule.training_step, LightningModule.on_train_start

        def killed(module: CtrModule, batch: Any, batch_idx: int) -> None:
            if module.current_epoch == self.kill_in and batch_idx == 2:
                raise Killed
            step(module, batch, batch_idx)

        def began(module: CtrModule) -> None:
            self.began_in.append(module.current_epoch)
            start(module)

        monkeypatch.setattr(CtrModule, "training_step", killed)
        monkeypatch.setattr(CtrModule, "on_train_start", began, raising=False)


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    return Fate(monkeypatch)


def bench_in(folder: Path | None) -> Workbench:
    bench = tiny_bench("dnn", 0.5)
    changes = {"epochs": EPOCHS, "patience": 99, "lr_factor": 0.8, "min_delta": 0.05, "validations_per_epoch": 2}
    return replace(bench, checkpoints=folder, recipe=bench.recipe.model_copy(update=changes))


class Scaled(Table):
    """A scale per field, by an optimizer of the layer's own."""

    def __init__(self, schema: Schema, width: int, init_std: float) -> None:
        super().__init__(schema, width, [Rows.initial(schema, range(schema.num_fields), width, init_std)])
        self.scale = torch.nn.Parameter(torch.ones(self.schema.num_fields, 1))

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * self.scale

    def parameter_groups(self) -> list[dict[str, Any]]:
        momentum = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
        return [*super().parameter_groups(), {"params": [self.scale], "optimizer": momentum, "name": "scale"}]


class Averaging:
    """A step with state: the mean of the losses so far, which pulls; and a generator."""

    def __init__(self) -> None:
        self.mean, self.seen = torch.zeros(()), 0
        self.generator: torch.Generator | None = None

    def __call__(self, step: Step) -> Tensor:
        self.generator = self.generator or torch.Generator().manual_seed(1)
        loss = step.loss()
        step.zero_grad()
        step.backward(loss * (1 + self.mean + torch.rand((), generator=self.generator)))
        step.update()
        self.seen += 1
        self.mean = self.mean + (loss.detach() - self.mean) / self.seen
        return loss


def own_optimizers(bench: Workbench) -> Model:
    table = Scaled(bench.schema, bench.width, bench.init_std)
    with torch.no_grad():
        table.members[0].weight.copy_(rows_of(bench.full_table()))  # type: ignore[operator]
    model = bench.model(table)
    biases = [parameter for parameter in model.backbone.parameters() if parameter.ndim == 1]
    adam = OwnOptimizer("biases", biases, partial(torch.optim.Adam, lr=1e-3, weight_decay=0.01), follows=False)
    bench.train(model, optimizers=[adam])
    return model


def stateful_step(bench: Workbench) -> Model:
    model = bench.model(bench.full_table())
    bench.train(model, step=Averaging())
    return model


def distilled(bench: Workbench) -> Model:
    teacher = bench.model(bench.full_table())
    with torch.no_grad():
        teacher.embedding.parts[0].weight.mul_(50)
    model = bench.model(bench.full_table())
    bench.train(model, loss=Distillation(0.5, 2.0), teacher=teacher)
    return model


def masked(bench: Workbench) -> Model:
    mask = torch.rand(bench.schema.num_rows, 1, generator=bench.generator("mask")) < 0.5

    def keep(model: Model) -> None:
        model.embedding.parts[0].weight.grad.mul_(mask)

    model = bench.model(bench.full_table())
    bench.train(model, gradients=keep)
    return model


def method(**settings: Any) -> Callable[[Workbench], Model]:
    def compressed(bench: Workbench) -> Model:
        return registry.parse(settings).compress(bench)

    return compressed


CASES: dict[str, Callable[[Workbench], Model]] = {
    "optimizers of its own": own_optimizers,
    "a step with state": stateful_step,
    "a teacher": distilled,
    "gradients that are masked": masked,
    "a step and step sizes per row": method(name="alpt"),
    "a step and step sizes per field": method(name="alpt", step="field"),
    "rows in integers": method(name="lpt"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_and_ends_the_same(case: str, tmp_path: Path, fate: Fate, count: Count) -> None:
    whole = bench_in(None)
    wanted = CASES[case](whole).state_dict()
    fate.began_in.clear()
    for epoch in (1, 2):
        fate.kill_in = epoch
        with pytest.raises(Killed):
            CASES[case](bench_in(tmp_path))
    fate.kill_in = None
    bench = bench_in(tmp_path)
    model = CASES[case](bench).state_dict()

    assert fate.began_in == [0, 1, 2], "it did not go on from the last checkpoint"
    assert [name for name in wanted if not torch.equal(model[name], wanted[name])] == []
    told = [[epoch.model_dump(exclude={"seconds"}) for epoch in b.ledger.history] for b in (bench, whole)]
    assert told[0] == told[1]
    assert len({epoch["learning_rate"] for epoch in told[0]}) > 1, "rates have fallen on the way"
    count("trainings with something of a method's own, killed twice and resumed: equal to the bit")


def scaled_loss(factor: float) -> Callable[[LossInputs], Tensor]:
    return lambda told: factor * told.task


def test_other_settings_of_its_own_do_not_resume(tmp_path: Path, fate: Fate) -> None:
    fate.kill_in = 2
    variants: list[dict[str, Any]] = [
        {}, {"loss": scaled_loss(1.0)}, {"loss": scaled_loss(2.0)}, {"step": Averaging()}, {"loss": Distillation(0.0)},
        {"gradients": partial(torch.nn.utils.clip_grad_value_, clip_value=1.0)},
    ]  # fmt: skip
    for variant in variants:
        fate.began_in.clear()
        bench = bench_in(tmp_path)
        teacher = bench.model(bench.full_table()) if isinstance(variant.get("loss"), Distillation) else None
        if "gradients" in variant:
            clip = variant["gradients"]
            variant = {"gradients": partial(_by_value, clip)}
        with pytest.raises(Killed):
            bench.train(bench.model(bench.full_table()), teacher=teacher, **variant)
        assert fate.began_in == [0], variant


def _by_value(clip: Callable[[Any], None], model: Model) -> None:
    clip(model.parameters())


class Opaque:
    """What nobody can know to be kept."""


def test_what_holds_state_that_cannot_be_kept_starts_anew(tmp_path: Path) -> None:
    held = Opaque()
    other = torch.nn.Linear(1, 1)
    counted = {"steps": 0}

    def opaque(step: Step) -> Tensor:
        assert held
        return ordinary(step)

    def counting(step: Step) -> Tensor:
        counted["steps"] += 1
        return ordinary(step)

    class WithModule(Averaging):
        def __init__(self) -> None:
            super().__init__()
            self.network = other

    for step in (opaque, counting, WithModule()):
        bench = bench_in(tmp_path)
        bench.train(bench.model(bench.full_table()), step=step)
        assert list(tmp_path.iterdir()) == []
