"""Trainings that are the same in one process and in two. Run as a program, this is one of the two."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import TypeAdapter

from sharkbench.backbones import BackboneConfig
from sharkbench.contract import registry
from sharkbench.contract.method import Family, Method
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Split
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import SharkbenchError
from sharkbench.model.model import Model
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.losses import Distillation
from sharkbench.training.recipe import Recipe
from sharkbench.training.step import Step

DEEPFM = {"name": "deepfm", "hidden": [16], "dropout": 0.0}
QR = {"name": "qr", "fraction": 0.5, "threshold": 10}
HASH = {"name": "hash", "fraction": 0.3, "threshold": 10}
FDH = {"name": "fdh", "fraction": 0.5, "threshold": 10}
LPT = {"name": "lpt", "bits": 8, "cache": 0.0, "rounding": "nearest"}

ALPT = {"name": "alpt", "bits": 8, "cache": 0.0}


class Scaled(Table):
    """A scale per field, by an optimizer of its own."""

    def __init__(self, schema: Schema, width: int, init_std: float) -> None:
        super().__init__(schema, width, [Rows.initial(schema, range(schema.num_fields), width, init_std)])
        self.scale = torch.nn.Parameter(torch.ones(self.schema.num_fields, 1))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) * self.scale

    def parameter_groups(self) -> list[dict[str, Any]]:
        own = {"params": [self.scale], "optimizer": partial(torch.optim.SGD, lr=0.1), "name": "scale"}
        return [*super().parameter_groups(), own]


def in_turns(step: Step) -> torch.Tensor:
    """The rows by the recipe, the scales by a second pass whose gradient is taken by itself."""
    loss = step.loss()
    step.zero_grad()
    step.backward(loss)
    step.update("recipe")
    scale = step.model.embedding.scale
    scale.grad = step.gradient(step.data_loss(), scale)
    step.update("scale")
    return loss


def halved(model: Model) -> None:
    """Of whole gradients, so that it is the same in one process and in two."""
    scale = model.embedding.scale
    if scale.grad is not None:
        scale.grad.copy_(scale.grad / (1 + scale.grad.abs()))


class InTurns(Method):
    """A step, a loss, a teacher, gradients and an optimizer of a method's own."""

    name: Literal["in_turns"] = "in_turns"
    title: ClassVar[str] = "-"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 2026
    family: ClassVar[Family] = "none"

    def compress(self, bench: Workbench) -> Model:
        with bench.seeded("table"):
            table = Scaled(bench.schema, bench.width, bench.init_std)
        model, teacher = bench.model(table), bench.model(bench.full_table())
        bench.train(model, step=in_turns, loss=Distillation(0.3, 2.0), teacher=teacher, gradients=halved)
        with torch.no_grad():
            table.members[0].weight.mul_(table.scale.detach().repeat_interleave(torch.tensor([61, 30, 8]), 0))
            table.scale.fill_(1)
        return model


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "full, adam": ("full", {"optimizer": "adam", "embedding_l2": 1e-3}),
    "full, lazy_adam": ("full", {"optimizer": "lazy_adam", "embedding_l2": 1e-3, "clip_norm": 0.05}),
    "qr, lazy_adam": (QR, {"optimizer": "lazy_adam"}),
    "qr, rowwise_adagrad": (QR, {"optimizer": "rowwise_adagrad", "learning_rate": 0.05}),
    "lpt, sgd": (LPT, {"optimizer": "sgd", "learning_rate": 0.3}),
    "divided full, adam": (
        "full",
        {"optimizer": "adam", "embedding_l2": 1e-3, "clip_norm": 0.05, "shard_tables": True},
    ),
    "divided full, lazy_adam": ("full", {"optimizer": "lazy_adam", "embedding_l2": 1e-3, "shard_tables": True}),
    "divided hash, rowwise_adagrad": (
        HASH,
        {"optimizer": "rowwise_adagrad", "learning_rate": 0.05, "clip_norm": 0.05, "shard_tables": True},
    ),
    "divided qr, adam": (QR, {"optimizer": "adam", "shard_tables": True}),
    "divided qr, lazy_adam": ({**QR, "operation": "concat"}, {"optimizer": "lazy_adam", "shard_tables": True}),
    "divided rows of their own, lazy_adam": (FDH, {"optimizer": "lazy_adam", "shard_tables": True}),
    "divided lpt, sgd": (LPT, {"optimizer": "sgd", "learning_rate": 0.3, "shard_tables": True}),
    "divided lpt with a cache, lazy_adam": (
        {**LPT, "cache": 0.3},
        {"optimizer": "lazy_adam", "learning_rate": 0.01, "shard_tables": True},
    ),
    "a method's own step, adam": (InTurns(), {"optimizer": "adam", "embedding_l2": 1e-3, "clip_norm": 0.05}),
    "a method's own step, lazy_adam": (InTurns(), {"optimizer": "lazy_adam"}),
    "weighted, a method's own step, lazy_adam": (InTurns(), {"optimizer": "lazy_adam", "batch_size": 40}),
    "weighted full, lazy_adam": ("full", {"optimizer": "lazy_adam", "embedding_l2": 1e-3, "batch_size": 40}),
    "divided weighted qr, adam": (QR, {"optimizer": "adam", "shard_tables": True}),
}

STOCHASTIC: dict[str, tuple[Any, dict[str, Any]]] = {
    "alpt, sgd": (ALPT, {"optimizer": "sgd", "learning_rate": 0.3}),
}
"""Rounded stochastically, so that last bits decide and one process comes to something else."""
EVERY = {**CASES, **STOCHASTIC}


def dataset(weighted: bool = False) -> PreparedDataset:
    """Numbers of rows that neither the batch size nor the number of processes divides.

    Weights, if wanted, are 0 for most samples, so that a batch may have none on one process.
    """
    rng = np.random.default_rng(0)
    fields = (Field("f0", 61), Field("f1", 30), Field("f2", 8, slots=2))
    effects = rng.normal(size=99)
    schema = Schema(fields, ("click", "like"), ("price",))

    def split(rows: int) -> Split:
        columns = [schema.offsets[f] + rng.integers(fields[f].cardinality, size=rows) for f in schema.slot_fields]
        ids = np.stack(columns, 1)
        ids[rng.random(rows) < 0.3, 3] = PADDING
        price = rng.normal(size=(rows, 1))
        logit = effects[ids[:, :3]].sum(1) + price[:, 0]
        p = 1 / (1 + np.exp(-np.stack([logit, logit - 1], 1)))
        return Split(
            ids=torch.from_numpy(ids).int(),
            dense=torch.from_numpy(price).float(),
            labels=torch.from_numpy(rng.random((rows, 2)) < p).float(),
            weight=torch.from_numpy(rng.choice([0, 1, 3], rows, p=[0.8, 0.1, 0.1])).float() if weighted else None,
        )

    splits = {"train": split(1999), "valid": split(501)}
    counts = np.bincount(splits["train"].ids.numpy().ravel() % 99, minlength=99).astype(np.int64)
    schema = Schema(fields, ("click", "like"), ("price",), frequencies=counts)
    return PreparedDataset("small", Path(), "0", schema, {}, splits)


def bench(case: str, folder: Path, processes: int, **changes: Any) -> Workbench:
    """The bench of a case; ``changes`` are of the recipe."""
    recipe = {
        "batch_size": 250, "epochs": 3, "learning_rate": 0.02, "init_std": 0.05, "accelerator": "cpu",
        "validations_per_epoch": 2, "patience": 3, **EVERY[case][1], **changes, "processes": processes,
    }  # fmt: skip
    if processes == 1:
        recipe["shard_tables"] = False
    return Workbench(
        dataset=dataset("weighted" in case),
        task=Ctr(),
        # A bias before batch normalisation has no gradient but rounding, which these optimizers make steps of.
        backbone=TypeAdapter(BackboneConfig).validate_python({**DEEPFM, "batch_norm": recipe["optimizer"] == "sgd"}),
        dimension=4,
        recipe=Recipe.model_validate(recipe),
        seed=1,
        budget=None,
        shared=folder,
        full_key=f"{case} {processes}",
    )


def train(case: str, folder: Path, processes: int, **changes: Any) -> dict[str, Any]:
    """What the case comes to: history, weights, samples."""
    on = bench(case, folder, processes, **changes)
    model = registry.parse(EVERY[case][0]).compress(on)
    history = [epoch.model_dump(exclude={"seconds"}) for epoch in on.ledger.history]
    packed = model.pack()
    ids = on.dataset.splits["valid"].ids
    with torch.no_grad():
        logits = packed(ids, on.dataset.splits["valid"].dense)
    return {
        "history": history,
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "logits": logits,
        "samples": on.ledger.total().samples,
    }


class OwnChance(Rows):
    """Does in each process something else."""

    def after_step(self) -> None:
        self.weight[0, 0] += torch.distributed.get_rank()


class Overflows(Rows):
    """Diverges in one process."""

    def extra_loss(self) -> torch.Tensor:
        return self.weight[0, 0] * (float("nan") if torch.distributed.get_rank() else 1.0)


def table(on: Workbench, rows: type[Rows]) -> Table:
    """A row per id, of a kind that cannot go well."""
    weight = torch.empty(on.schema.num_rows, on.width).normal_(std=0.05)
    return on.table(rows(on.schema, on.fields, weight))


def refused(folder: Path) -> dict[str, str]:
    """What each process says of what cannot go well."""
    on = bench("full, lazy_adam", folder, 2)
    recent = registry.parse({**LPT, "cache": 0.3, "cache_by": "recency"})
    tries = {
        "own chance": lambda: on.train(on.model(table(on, OwnChance))),
        "overflow": lambda: on.train(on.model(table(on, Overflows))),
        "indivisible": lambda: recent.compress(bench("divided lpt, sgd", folder, 2)),
    }
    said = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except SharkbenchError as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found: dict[str, Any] = {case: train(case, place, 2) for case in EVERY}
    found["refused"] = refused(place)
    torch.save(found, place / f"of {torch.distributed.get_rank()}.pt")
    torch.distributed.destroy_process_group()
