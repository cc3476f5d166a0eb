"""Layers as a method makes them, before anything trains, of schemas without data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sharkbench.backbones.ctr.deepfm import DeepFM
from sharkbench.backbones.ctr.dnn import DNN
from sharkbench.backbones.ctr.linear import Linear
from sharkbench.contract import registry
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.formats.shape import TableShape
from sharkbench.tables.parts import Table
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.recipe import Recipe


class Untrained(Workbench):
    """Leaves what is to be trained as it is."""

    def train(self, *_: Any, **__: Any) -> Any:
        return None


def initial(said: object, shape: TableShape, budget: int | None = None, init_std: float = 0.1, seed: int = 1) -> Table:
    """The layer that the method ``said`` starts training with, of a table of ``shape`` in ``budget`` bytes."""
    deep = DeepFM(hidden=(2,)) if shape.first_order else DNN(hidden=(2,))
    schema = replace(shape.schema, labels=tuple(f"label {i}" for i in range(max(shape.first_order, 1))))
    bench = Untrained(
        dataset=PreparedDataset("none", Path(), "none", schema, {}, {}),
        task=Ctr(),
        backbone=deep if shape.dimension else Linear(),
        dimension=shape.dimension or 1,
        recipe=Recipe(init_std=init_std, threads=1, accelerator="cpu"),
        seed=seed,
        budget=budget,
        shared=Path(),
        full_key="none",
    )
    assert bench.shape == TableShape(schema, shape.dimension, shape.first_order)
    made = registry.parse(said).compress(bench).embedding
    assert isinstance(made, Table)
    return made
