"""A small data set whose field importances are known, in memory, and benches on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from sharkbench.backbones import BackboneConfig
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.readers.synthetic import draw_truth, generate
from sharkbench.data.samples import Split
from sharkbench.data.schema import Field, Schema
from sharkbench.data.sources.synthetic import SyntheticSpec
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.recipe import Recipe

IMPORTANCES = (1.0, 0.0, 0.5, 0.25, 0.0, 0.12, 0.06, 0.0)
NOISE = {"f1", "f4", "f7"}
SIZE = 40


def planted(rows: int = 24_000) -> PreparedDataset:
    """Eight fields of equal size, three of them noise."""
    spec = SyntheticSpec(
        rows=rows, cardinalities=(SIZE,) * len(IMPORTANCES), importances=IMPORTANCES, strength=(1.5, 1.0, 0.0)
    )
    ranks, labels = [], []
    for chunk, _, y in generate(spec, draw_truth(spec)):
        ranks.append(np.stack(chunk, 1))
        labels.append(y.T)
    fields = tuple(Field(f"f{i}", SIZE) for i in range(len(IMPORTANCES)))
    schema = Schema(fields, ("click",))
    ids = torch.from_numpy(np.concatenate(ranks) + schema.offsets[:-1]).int()
    y = torch.from_numpy(np.concatenate(labels)).float()
    valid, test = int(0.7 * rows), int(0.9 * rows)
    parts = {"train": slice(valid), "valid": slice(valid, test), "test": slice(test, None)}
    splits = {name: Split(ids[part], torch.empty(len(ids[part]), 0), y[part]) for name, part in parts.items()}
    counts = np.bincount(ids[:valid].numpy().ravel(), minlength=schema.num_rows).astype(np.int64)
    return PreparedDataset("planted", Path(), "planted", Schema(fields, ("click",), frequencies=counts), {}, splits)


def bench_on(
    dataset: PreparedDataset, folder: Path, backbone: str = "dnn", budget: float | None = None, **recipe: object
) -> Workbench:
    hidden = {} if backbone in ("linear", "fm") else {"hidden": [16]}
    bench = Workbench(
        dataset=dataset,
        task=Ctr(),
        backbone=TypeAdapter(BackboneConfig).validate_python({"name": backbone, **hidden}),
        dimension=4,
        recipe=Recipe.model_validate(
            {"batch_size": 512, "epochs": 3, "learning_rate": 0.01, "threads": 1, "accelerator": "cpu", **recipe}
        ),
        seed=1,
        budget=None,
        shared=folder,
        full_key=f"{dataset.name}-{backbone}-{recipe}",
    )
    return bench.for_stage("", budget=int(budget * bench.fp32_bytes) if budget else None, start=None)
