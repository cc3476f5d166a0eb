"""Training speed: the loop people write today, a bare loop of ours, and our whole path, in turns in one process.

    python benchmarks/training.py --precision bf16-mixed --out results/training/training.csv

(a) today   one ``nn.Embedding`` per field, dense Adam, gradient clipping, float32
(b) bare    one merged table, lazy Adam, tensors in memory, no Lightning
(c) whole   ``sharkbench.training.fit``: Arrow files, Lightning, validation with metrics, best weights kept

39 fields, 2 million features (Zipf 1.05 within a field), D = 16, MLP 400x3, batches of 4096. A turn of (c) is one
epoch with its validation on a tenth as many rows. With ``--auc`` the validation AUC of (a) and (c) on KuaiRand is
compared too, over three seeds. Speeds are medians over turns; ratios are taken within a round, and once more in CPU
time (``_cpu``), which other processes on the machine hardly move. bfloat16 pays off only where the processor has
instructions for it (avx512_bf16 or amx_bf16): the table says whether it has.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from sharkbench.backbones import BackboneShape, build, width
from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.data.arrow import SplitWriter, open_split
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.loader import batches
from sharkbench.data.prepare import prepare
from sharkbench.data.samples import Batch
from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.data.sources.kuairand import KuaiRandSpec
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.pooling import pool_slots
from sharkbench.measure.quality import predict, quality
from sharkbench.model.model import Model
from sharkbench.seeds import seeded
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.fit import fit
from sharkbench.training.gradients import clip, sum_rows
from sharkbench.training.optimizers import build_optimizer
from sharkbench.training.recipe import Recipe

FIELDS, FEATURES, DIMENSION, BATCH = 39, 2_000_000, 16, 4096
BACKBONE = DeepFM(dropout=0)
SEEDS = (0, 1, 2)


class TablePerField(EmbeddingLayer):
    """The common implementation: one ``nn.Embedding`` per field."""

    def __init__(self, schema: Schema, width: int, init_std: float) -> None:
        super().__init__(schema, width)
        self.tables = nn.ModuleList(nn.Embedding(f.cardinality, width) for f in schema.fields)
        for table in self.tables:
            nn.init.normal_(table.weight, std=init_std)

    def forward(self, ids: Tensor) -> Tensor:
        filled = torch.where(ids == PADDING, self.slot_starts.to(ids), ids) if self.schema.multivalued else ids
        local = filled - self.slot_starts
        columns = zip(self.schema.slot_fields.tolist(), local.unbind(1), strict=True)
        vectors = torch.stack([self.tables[f](column) for f, column in columns], dim=1)
        return pool_slots(vectors, ids, self.schema, self.fields)

    def pack(self) -> PackedLayer:
        raise NotImplementedError


def full_table(schema: Schema, columns: int, init_std: float) -> Table:
    """A table with a row per id and sparse gradients."""
    table = Table(schema, columns, [Rows.initial(schema, range(schema.num_fields), columns, init_std)])
    table.use_sparse_gradients(True)
    return table


def model_of(schema: Schema, seed: int, layer: Any) -> Model:
    labels = len(schema.labels)
    with seeded(seed, "model"):
        embedding = layer(schema, width(BACKBONE, DIMENSION, labels), 0.01)
        shape = BackboneShape(schema.num_fields, DIMENSION, len(schema.dense), labels)
        return Model(embedding, build(BACKBONE, shape))


class Today:
    """Variant (a)."""

    def __init__(self, schema: Schema, seed: int = 0) -> None:
        self.model = model_of(schema, seed, TablePerField)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def run(self, data: Iterable[Batch]) -> None:
        self.model.train()
        for batch in data:
            self.optimizer.zero_grad()
            Ctr().loss(self.model(batch.ids, batch.dense), batch.labels, None).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 10)
            self.optimizer.step()


class Bare:
    """Variant (b)."""

    def __init__(self, schema: Schema, recipe: Recipe) -> None:
        self.model = model_of(schema, 0, full_table)
        self.optimizer = build_optimizer(self.model, recipe)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16-mixed")
        self.forward = torch.compile(self.model.backbone) if recipe.compile else self.model.backbone

    def run(self, data: Iterable[Batch]) -> None:
        table, parameters = self.model.embedding.parts[0].weight, list(self.model.parameters())
        for batch in data:
            self.optimizer.zero_grad()
            with self.autocast:
                loss = Ctr().loss(self.forward(self.model.embedding(batch.ids), batch.dense), batch.labels, None)
            loss.backward()
            table.grad = sum_rows(table.grad)
            clip(parameters, 10)
            self.optimizer.step()


class Speed(NamedTuple):
    """Samples per second of wall time and of CPU time."""

    wall: float
    cpu: float


class Watch:
    """A stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def speed(self, samples: int) -> Speed:
        return Speed(samples / (time.perf_counter() - self.wall), samples / (time.process_time() - self.cpu))


class Turns(Callback):
    """Lets (a) and (b) run before each epoch of (c), and times all three; the first round warms up."""

    def __init__(self, rivals: dict[str, Any], data: list[Batch], steps: dict[str, int]) -> None:
        self.rivals, self.steps = rivals, steps
        self.data: Iterator[Batch] = cycle(data)
        self.speeds: dict[str, list[Speed]] = {name: [] for name in ("today", "bare", "whole")}
        self.watch = Watch()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, rival in self.rivals.items():
            watch = Watch()
            rival.run(islice(self.data, self.steps[name]))
            self.speeds[name].append(watch.speed(self.steps[name] * BATCH))
        self.watch = Watch()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.speeds["whole"].append(self.watch.speed(self.steps["whole"] * BATCH))
        print(
            {name: f"{speed[-1].wall:,.0f} ({speed[-1].cpu:,.0f})" for name, speed in self.speeds.items()}, flush=True
        )


def generate(folder: Path, rows: dict[str, int]) -> PreparedDataset:
    """Zipf-distributed ids on disk, and labels that depend on the first five fields."""
    rng = np.random.default_rng(0)
    sizes = [FEATURES // FIELDS] * FIELDS
    schema = Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), ("click",))
    popularity = np.cumsum(np.arange(1, sizes[0] + 1) ** -1.05)
    effects = rng.normal(size=schema.num_rows)
    for name, count in rows.items():
        writer = SplitWriter(folder / f"{name}.arrow", count, FIELDS, 0, 1, group=False)
        ranks = np.searchsorted(popularity, rng.random((count, FIELDS)) * popularity[-1])
        ids = (np.minimum(ranks, sizes[0] - 1) + schema.offsets[:-1]).astype(np.int32)
        labels = rng.random(count) < 1 / (1 + np.exp(-effects[ids[:, :5]].sum(1)))
        writer.append(ids=ids, labels=labels.astype(np.float32)[:, None])
        writer.close()
    splits = {name: open_split(folder / f"{name}.arrow") for name in rows}
    return PreparedDataset("generated", folder, "0", schema, {}, splits)


def measure_speed(recipe: Recipe, rounds: int, steps: int) -> dict[str, Any]:
    """Median samples per second of each, and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = generate(Path(folder), {"train": steps * BATCH, "valid": steps * BATCH // 10})
        data = list(batches(dataset.splits["train"], BATCH, seed=0))
        rivals = {"today": Today(dataset.schema), "bare": Bare(dataset.schema, recipe)}
        turns = Turns(rivals, data, {"today": max(steps // 3, 1), "bare": steps, "whole": steps})
        model = model_of(dataset.schema, 0, full_table)
        timed = recipe.model_copy(update={"epochs": rounds + 1, "patience": rounds + 1, "lr_factor": 1.0})
        fit(model, dataset, Ctr(), timed, seed=0, callbacks=[turns])
    speeds = {name: speed[1:] for name, speed in turns.speeds.items()}
    row: dict[str, Any] = {
        f"{name}_per_second": round(statistics.median(t.wall for t in s)) for name, s in speeds.items()
    }
    for rival in ("bare", "today"):
        pairs = list(zip(speeds["whole"], speeds[rival], strict=True))
        ratios = [c.wall / other.wall for c, other in pairs]
        row[f"whole_to_{rival}"] = round(statistics.median(ratios), 3)
        row[f"whole_to_{rival}_low"], row[f"whole_to_{rival}_high"] = round(min(ratios), 3), round(max(ratios), 3)
        row[f"whole_to_{rival}_cpu"] = round(statistics.median(c.cpu / other.cpu for c, other in pairs), 3)
    return row


def measure_auc(recipe: Recipe, path: str, epochs: int) -> dict[str, Any]:
    """Best validation AUC (mean over labels) of (a) and (c) with the same number of epochs, three seeds each."""
    dataset = prepare(KuaiRandSpec(path=path))
    valid, aucs = dataset.splits["valid"], {"today": [], "whole": []}
    for seed in SEEDS:
        today, best = Today(dataset.schema, seed), 0.0
        for epoch in range(epochs):
            today.run(batches(dataset.splits["train"], BATCH, seed=seed, epoch=epoch))
            result = quality(predict(today.model, valid), valid, dataset.schema.labels, Ctr())
            best = max(best, statistics.mean(values["auc"] for values in result.values()))
        aucs["today"].append(best)
        model = model_of(dataset.schema, seed, full_table)
        history = fit(model, dataset, Ctr(), recipe.model_copy(update={"epochs": epochs}), seed=seed).history
        aucs["whole"].append(max(Ctr().primary.mean(e.valid) for e in history))
        print({name: f"{values[-1]:.4f}" for name, values in aucs.items()}, flush=True)
    return {
        f"{name}_kuairand_auc{suffix}": round(value, 5)
        for name, values in aucs.items()
        for suffix, value in (("", statistics.mean(values)), ("_std", statistics.stdev(values)))
    }


def processor() -> tuple[str, bool]:
    """Name of the processor, and whether it multiplies bfloat16 matrices in hardware."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    return (names or [platform.processor()])[0], "avx512_bf16" in flags or "amx_bf16" in flags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("fp32", "bf16-mixed"), default="bf16-mixed")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="batches per turn; (a) gets a third")
    parser.add_argument("--auc", metavar="PARQUET", help="KuaiRand's merged Parquet file")
    parser.add_argument("--epochs", type=int, default=6, help="of the AUC comparison")
    parser.add_argument("--out", type=Path, help="CSV to append the row to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = Recipe(
        optimizer="lazy_adam", precision=args.precision, compile=args.compile, accelerator="cpu", init_std=0.01
    )
    name, native = processor()
    row: dict[str, Any] = {
        "processor": name,
        "bf16_instructions": native,
        "load_at_start": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "threads": args.threads,
        "precision": args.precision,
        "compile": args.compile,
    }
    row |= measure_speed(recipe, args.rounds, args.steps)
    if args.auc:
        row |= measure_auc(recipe, args.auc, args.epochs)
    for key, value in row.items():
        print(f"{key:28} {value}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        known = list(csv.DictReader(args.out.open())) if args.out.exists() else []
        columns = list(dict.fromkeys([*(key for old in known for key in old), *row]))
        with args.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows([*known, row])


if __name__ == "__main__":
    main()
