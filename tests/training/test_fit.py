"""What training promises: it learns, repeats itself, keeps the best, stops, calls the hooks, names divergence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sharkbench.backbones import BackboneShape, build, width
from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.data.dataset import PreparedDataset
from sharkbench.errors import DataError, Diverged
from sharkbench.measure.quality import predict, quality
from sharkbench.model.model import Model
from sharkbench.results.records import Epoch
from sharkbench.seeds import seeded
from sharkbench.tables.rows import Rows
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.fit import FitReport, fit
from sharkbench.training.optimizers import build_optimizer
from sharkbench.training.recipe import Optimizer, Recipe
from tests.tables.small_tables import table_of

BACKBONE = DeepFM(hidden=(16,), dropout=0.1)
QUICK = Recipe(batch_size=250, epochs=3, learning_rate=1e-2, init_std=1e-2, accelerator="cpu")
RATES: dict[Optimizer, float] = {"adam": 1e-2, "lazy_adam": 1e-2, "rowwise_adagrad": 5e-2, "sgd": 0.2}


def make_model(dataset: PreparedDataset, recipe: Recipe = QUICK, rows: type[Rows] = Rows) -> Model:
    schema = dataset.schema
    with seeded(0, "model"):
        weight = torch.empty(schema.num_rows, width(BACKBONE, 4, 2)).normal_(std=recipe.init_std)
        return Model(
            table_of(rows(schema, range(schema.num_fields), weight)),
            build(BACKBONE, BackboneShape(schema.num_fields, 4, len(schema.dense), 2)),
        )


def train(model: Model, dataset: PreparedDataset, recipe: Recipe = QUICK, seed: int = 0, **more: Any) -> FitReport:
    return fit(model, dataset, Ctr(), recipe, seed=seed, **more)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def mean_auc(epoch: Epoch) -> float:
    return Ctr().primary.mean(epoch.valid)


@pytest.mark.parametrize("optimizer", RATES)
def test_learns(dataset: PreparedDataset, optimizer: Optimizer) -> None:
    recipe = QUICK.model_copy(update={"optimizer": optimizer, "learning_rate": RATES[optimizer]})
    model = make_model(dataset, recipe)
    report = train(model, dataset, recipe)
    assert mean_auc(report.history[report.best_epoch - 1]) > 0.65
    assert report.cost.samples == report.cost.epochs * 2000  # 2001 rows: the single one of the last batch is left out
    assert report.cost.peak_memory_bytes > 0


def test_same_seed_same_bits(dataset: PreparedDataset) -> None:
    recipe = QUICK.model_copy(update={"optimizer": "lazy_adam", "embedding_l2": 1e-4})
    trained = []
    for seed in (0, 0, 1):
        model = make_model(dataset, recipe)
        torch.rand(seed + len(trained))  # what others draw in between must not matter
        train(model, dataset, recipe, seed=seed)
        trained.append(weights(model))
    first, second, other = trained
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.parts.0.weight"], other["embedding.parts.0.weight"])


def test_leaves_the_callers_random_stream_and_threads_alone(dataset: PreparedDataset) -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(make_model(dataset), dataset, QUICK.model_copy(update={"threads": 1}))
    model_free = torch.random.get_rng_state()
    assert torch.equal(before, model_free)
    assert torch.get_num_threads() == threads


def test_weights_that_may_not_stay_are_not_the_best(dataset: PreparedDataset) -> None:
    class Shrinking(Rows):
        validations = 0

        def may_stay(self) -> bool:
            self.validations += 1
            return self.validations == 2

    recipe = QUICK.model_copy(update={"patience": 1, "learning_rate": 1e-3})
    report = train(make_model(dataset, recipe, Shrinking), dataset, recipe)
    assert [epoch.epoch for epoch in report.history] == [1, 2, 3]
    assert report.best_epoch == 2


def test_where_none_may_stay_the_last_weights_do(dataset: PreparedDataset) -> None:
    class TooLarge(Rows):
        def may_stay(self) -> bool:
            return False

    last: dict[str, torch.Tensor] = {}

    class Watch(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            last.update(weights(pl_module.model))

    model = make_model(dataset, QUICK, TooLarge)
    report = train(model, dataset, QUICK, callbacks=[Watch()])
    assert report.best_epoch == len(report.history) == QUICK.epochs
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights(model).items())


def test_a_layers_own_groups_have_their_own_rates(dataset: PreparedDataset) -> None:
    class Thresholds(Rows):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            self.threshold = torch.nn.Parameter(torch.zeros(1))
            self.factor = torch.nn.Parameter(torch.zeros(1))

        def parameter_groups(self) -> list[dict[str, Any]]:
            return [
                {"params": [self.weight]},
                {"params": [self.threshold], "lr_factor": 3.0, "l2": 0.0},
                {"params": [self.factor], "l2_factor": 0.01},
            ]

    recipe = QUICK.model_copy(update={"embedding_learning_rate": 0.1, "embedding_l2": 1e-3})
    groups = build_optimizer(make_model(dataset, recipe, Thresholds), recipe).param_groups
    assert [(group["role"], group["lr"], group["l2"]) for group in groups[:3]] == [
        ("embedding", 0.1, 1e-3),
        ("embedding", pytest.approx(0.3), 0.0),
        ("embedding", 0.1, pytest.approx(1e-5)),
    ]


def test_restores_the_best_weights(dataset: PreparedDataset) -> None:
    class Ruin(Callback):
        """Spoils the table after the second validation."""

        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if len(pl_module.history) == 2:
                pl_module.model.embedding.parts[0].weight.data.normal_(std=3)

    model, recipe = make_model(dataset), QUICK.model_copy(update={"epochs": 4})
    report = train(model, dataset, recipe, callbacks=[Ruin()])
    assert report.best_epoch <= 2
    best = report.history[report.best_epoch - 1]
    split = dataset.splits["valid"]
    now = quality(predict(model, split), split, dataset.schema.labels, Ctr())
    for label, auc in ((label, values["auc"]) for label, values in best.valid.items()):
        assert now[label]["auc"] == pytest.approx(auc, abs=1e-9)


def test_misses_lower_the_rate_and_then_stop(dataset: PreparedDataset) -> None:
    recipe = QUICK.model_copy(update={"epochs": 50, "min_delta": 1.0, "patience": 3, "lr_factor": 0.5})
    report = train(make_model(dataset), dataset, recipe)
    assert [e.learning_rate for e in report.history] == pytest.approx([1e-2, 1e-2, 5e-3, 2.5e-3])
    assert report.best_epoch == 1


def test_validates_within_an_epoch(dataset: PreparedDataset) -> None:
    seen: list[Epoch] = []
    recipe = QUICK.model_copy(update={"validations_per_epoch": 4, "patience": 100, "lr_factor": 1.0})
    report = train(make_model(dataset), dataset, recipe, stage="search", on_epoch=seen.append)
    assert [e.epoch for e in report.history] == list(range(1, 13))
    assert seen == report.history
    assert {e.stage for e in seen} == {"search"}


def test_calls_the_hooks_of_the_embedding_layer(dataset: PreparedDataset) -> None:
    class Bounded(Rows):
        steps = 0

        def after_step(self) -> None:
            self.steps += 1
            self.weight.clamp_(-0.05, 0.05)

        def extra_loss(self) -> torch.Tensor:
            return 100 * self.weight.square().sum()

    model = make_model(dataset, rows=Bounded)
    train(model, dataset)
    assert model.embedding.parts[0].steps == 3 * 8
    assert model.embedding.parts[0].weight.abs().max() <= 0.05
    free = make_model(dataset)
    train(free, dataset)
    assert model.embedding.parts[0].weight.norm() < 0.2 * free.embedding.parts[0].weight.norm()


def test_whole_table_l2_shrinks_untouched_rows_and_lazy_does_not(dataset: PreparedDataset) -> None:
    train_split = dataset.splits["train"]
    ids = torch.where(train_split.ids == 5, 6, train_split.ids)  # row 5 is never touched
    changed = replace(dataset, splits={**dataset.splits, "train": replace(train_split, ids=ids)})
    for optimizer, shrinks in (("adam", True), ("lazy_adam", False)):
        recipe = QUICK.model_copy(update={"optimizer": optimizer, "embedding_l2": 1e-2, "epochs": 1})
        model = make_model(dataset, recipe)
        start = model.embedding.parts[0].weight[5].clone()
        train(model, changed, recipe)
        assert torch.equal(model.embedding.parts[0].weight[5], start) != shrinks


def test_clips_the_joint_norm(dataset: PreparedDataset) -> None:
    class Norms(Callback):
        largest = 0.0

        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            gradients = [p.grad.coalesce() for p in pl_module.parameters() if p.grad is not None and p.grad.is_sparse]
            dense = [p.grad for p in pl_module.parameters() if p.grad is not None and not p.grad.is_sparse]
            norms = [g.values().norm() for g in gradients] + [g.norm() for g in dense]
            if norms:
                self.largest = max(self.largest, torch.stack(norms).norm().item())

    norms = Norms()
    recipe = QUICK.model_copy(update={"optimizer": "lazy_adam", "clip_norm": 0.01, "epochs": 1})
    train(make_model(dataset, recipe), dataset, recipe, callbacks=[norms])
    assert norms.largest == pytest.approx(0.01, rel=0.01)


def test_divergence_names_epoch_and_step(dataset: PreparedDataset) -> None:
    class Break(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, index: int) -> None:
            if trainer.global_step == 10:  # the third of the second epoch's eight
                pl_module.model.embedding.parts[0].weight.data.fill_(float("nan"))

    with pytest.raises(Diverged, match=r"nan in epoch 2, step 11\b"):
        train(make_model(dataset), dataset, callbacks=[Break()])


def test_interrupt_stays_an_interrupt(dataset: PreparedDataset) -> None:
    class Interrupt(Callback):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_model(dataset), dataset, callbacks=[Interrupt()])


def test_validation_with_one_class_is_a_data_error(dataset: PreparedDataset) -> None:
    valid = dataset.splits["valid"]
    changed = replace(dataset, splits={**dataset.splits, "valid": replace(valid, labels=valid.labels * 0)})
    with pytest.raises(DataError, match="'click'"):
        train(make_model(dataset), changed)


@pytest.mark.parametrize(("name", "rows"), [("train", 1), ("valid", 0)])
def test_a_split_without_rows_is_a_data_error(dataset: PreparedDataset, name: str, rows: int) -> None:
    split = dataset.splits[name]
    tiny = replace(split, ids=split.ids[:rows], dense=split.dense[:rows], labels=split.labels[:rows])
    with pytest.raises(DataError, match=f"the {name} split has {rows} rows"):
        train(make_model(dataset), replace(dataset, splits={**dataset.splits, name: tiny}))


def test_bfloat16_agrees_with_float32(dataset: PreparedDataset) -> None:
    results = []
    for precision in ("fp32", "bf16-mixed"):
        recipe = QUICK.model_copy(update={"precision": precision})
        model = make_model(dataset, recipe)
        results.append(mean_auc(train(model, dataset, recipe).history[-1]))
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert results[0] == pytest.approx(results[1], abs=0.02)


def test_a_compiled_backbone_leaves_the_model_as_it_was(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = QUICK.model_copy(update={"compile": True, "epochs": 1})
    model, compiled = make_model(dataset, recipe), []

    def compile_quickly(module: torch.nn.Module) -> torch.nn.Module:
        compiled.append(module)
        return compile_(module, backend="eager")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", compile_quickly)
    names = list(model.state_dict())
    train(model, dataset, recipe)
    assert compiled == [model.backbone]
    assert list(model.state_dict()) == names
