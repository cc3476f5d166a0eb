"""A training that is killed goes on from its last checkpoint and ends as if nothing had happened, to the bit."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from sharkbench.backbones import BackboneShape, build, width
from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.contract.check import tiny_dataset
from sharkbench.files.digests import MadeAgain
from sharkbench.model.model import Model
from sharkbench.seeds import seeded
from sharkbench.tables.rows import Rows
from sharkbench.tasks.ctr import Ctr
from sharkbench.training import kept
from sharkbench.training.fit import FitReport, fit
from sharkbench.training.recipe import Recipe
from tests.faults.counting import Count
from tests.tables.small_tables import table_of

BACKBONE = DeepFM(hidden=(16,), dropout=0.2)
EPOCHS = 4
RECIPE = Recipe(batch_size=300, epochs=EPOCHS, learning_rate=1e-2, init_std=1e-2, accelerator="cpu", patience=9)
Weights = dict[str, torch.Tensor]


class Killed(Exception):
    """Stands for a kill: nothing of the training's process is used after it."""


class Fate(Callback):
    """Ends training in the middle of an epoch, and says in which it began. All of it outside the instance: a callback's
    own state is part of a training, and this is not to be."""

    kill_in: ClassVar[int | None] = None
    began_in: ClassVar[list[int]] = []

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        type(self).began_in.append(trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.kill_in and batch_idx == 2:
            raise Killed


class Noisy(Rows):
    """State in every shape that is kept: a generator, plain values, a tensor that is no buffer, an unsaved buffer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.generator: torch.Generator | None = None
        self.seen, self.log = 0, [1.0]
        self.drift = torch.zeros(3)
        self.register_buffer("pull", torch.zeros(1), persistent=False)

    def after_step(self) -> None:
        self.generator = self.generator or torch.Generator().manual_seed(7)
        self.seen += 1
        self.log = [*self.log[-2:], self.seen / 10]
        self.drift += torch.rand(3, generator=self.generator)
        self.pull += self.drift.sum() * 1e-6 * self.log[0] * np.random.random()
        self.weight.data.mul_(1 - self.pull)


def trained(
    folder: Path | None, recipe: Recipe, rows: type[Rows] = Rows, *callbacks: Callback
) -> tuple[Weights, FitReport]:
    dataset = tiny_dataset()
    np.random.seed(3)
    with seeded(0, "model"):
        weight = torch.empty(dataset.schema.num_rows, width(BACKBONE, 4, 2)).normal_(std=recipe.init_std)
        embedding = table_of(rows(dataset.schema, range(dataset.schema.num_fields), weight))
        model = Model(embedding, build(BACKBONE, BackboneShape(dataset.schema.num_fields, 4, 1, 2)))
    report = fit(model, dataset, Ctr(), recipe, seed=5, callbacks=callbacks, checkpoints=folder)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, report


def assert_same(resumed: tuple[Weights, FitReport], undisturbed: tuple[Weights, FitReport]) -> None:
    (weights, report), (wanted, told) = resumed, undisturbed
    assert weights.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(weights[name], wanted[name])] == []
    dated = [epoch.model_copy(update={"seconds": 0.0}) for epoch in report.history]
    assert dated == [epoch.model_copy(update={"seconds": 0.0}) for epoch in told.history]
    assert (report.best_epoch, report.cost.samples, report.cost.epochs) == (
        told.best_epoch, told.cost.samples, told.cost.epochs,
    )  # fmt: skip


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch."""
    monkeypatch.setattr(kept, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(kept, "COST", 0)


RECIPES = {
    "adam": {"optimizer": "adam"},
    "lazy_adam": {"optimizer": "lazy_adam", "embedding_l2": 1e-4},
    "rowwise_adagrad": {"optimizer": "rowwise_adagrad", "learning_rate": 5e-2},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.2},
    "validating within epochs": {"optimizer": "lazy_adam", "validations_per_epoch": 3},
    "misses": {"optimizer": "lazy_adam", "min_delta": 0.02, "lr_factor": 0.5},
    "bfloat16": {"optimizer": "lazy_adam", "precision": "bf16-mixed"},
}


def cases() -> Iterator[Any]:
    """Every recipe with either kind of rows; a few of them always run."""
    always = {("adam", Rows), ("lazy_adam", Noisy), ("rowwise_adagrad", Rows)}
    for case in itertools.product(RECIPES, (Rows, Noisy)):
        yield pytest.param(*case, marks=() if case in always else pytest.mark.faults)


@pytest.mark.parametrize(("kind", "rows"), cases())
@pytest.mark.usefixtures("often")
def test_killed_in_an_epoch_equals_undisturbed(
    kind: str, rows: type[Rows], tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.model_copy(update=RECIPES[kind])
    wanted = trained(None, recipe, rows)
    monkeypatch.setattr(Fate, "began_in", [])
    for epoch in (1, EPOCHS - 1):
        monkeypatch.setattr(Fate, "kill_in", epoch)
        with pytest.raises(Killed):
            trained(tmp_path, recipe, rows, Fate())
    monkeypatch.setattr(Fate, "kill_in", None)
    assert_same(trained(tmp_path, recipe, rows, Fate()), wanted)
    assert Fate.began_in == [0, 1, EPOCHS - 1], "it did not go on from the last checkpoint"
    assert_same(trained(tmp_path, recipe, rows, Fate()), wanted)
    assert len(Fate.began_in) == 3, "a training that had ended was done again"
    count("trainings killed twice and resumed: equal to the bit")


class Stateful(Callback):
    """Holds what nobody can know to be kept."""

    def __init__(self) -> None:
        self.own = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.usefixtures("often")
def test_a_training_with_state_that_is_not_kept_starts_anew(tmp_path: Path, count: Count) -> None:
    trained(tmp_path, RECIPE, Rows, Stateful())
    assert list(tmp_path.iterdir()) == []
    count("trainings that hold more state than is kept: done anew")


def test_a_short_training_writes_nothing(tmp_path: Path) -> None:
    trained(tmp_path, RECIPE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("often")
def test_a_damaged_checkpoint_is_not_believed(tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = trained(None, RECIPE)
    monkeypatch.setattr(Fate, "kill_in", 2)
    with pytest.raises(Killed):
        trained(tmp_path, RECIPE, Rows, Fate())
    monkeypatch.setattr(Fate, "kill_in", None)
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    evil = pickle.dumps({"sharkbench": Evil(tmp_path / "ran")})
    lost_page = whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :]
    for content in (b"", whole[: len(whole) // 2], whole[:-1], lost_page, b"PK\x03\x04" + whole[4:200], evil):
        for own in (file, file.with_name(f"{file.name[:32]}.{hashlib.sha256(content).hexdigest()}.pt")):
            if content is lost_page and own != file:
                continue  # under such a name it is what was written
            for left in tmp_path.iterdir():
                left.unlink()
            own.write_bytes(content)
            with pytest.warns(MadeAgain, match=f"{own.name} is .*; the training does not go on from it"):
                assert_same(trained(tmp_path, RECIPE, Rows, Fate()), wanted)
            count("damaged or hostile checkpoints: not read, nothing executed, trained anew")


@pytest.mark.usefixtures("often")
def test_of_two_checkpoints_the_newer_one_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill leaves them that came between the writing of one and the removal of the other."""
    wanted, older = trained(None, RECIPE), {}
    monkeypatch.setattr(Fate, "began_in", [])
    for epoch in (1, 3):
        monkeypatch.setattr(Fate, "kill_in", epoch)
        with pytest.raises(Killed):
            trained(tmp_path, RECIPE, Rows, Fate())
        [file] = tmp_path.iterdir()
        older = older or {file: file.read_bytes()}
    for other, content in older.items():
        other.write_bytes(content)
        os.utime(other, (1, 1))
    monkeypatch.setattr(Fate, "kill_in", None)
    assert_same(trained(tmp_path, RECIPE, Rows, Fate()), wanted)
    assert Fate.began_in == [0, 1, 3]
    assert len(list(tmp_path.iterdir())) == 1
    assert not (tmp_path / "ran").exists()


class Evil:
    """Runs when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


@pytest.mark.usefixtures("often")
def test_other_data_settings_or_weights_do_not_resume(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fate, "kill_in", 2)
    for changes in ({}, {"learning_rate": 0.02}, {"batch_size": 299}, {"init_std": 0.02}, {"epochs": 5}):
        monkeypatch.setattr(Fate, "began_in", [])
        with pytest.raises(Killed):
            trained(tmp_path, RECIPE.model_copy(update=changes), Rows, Fate())
        assert Fate.began_in == [0]
        count("trainings that differ in anything: never resumed from each other")
