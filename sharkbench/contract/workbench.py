"""All that a method may use: data, schema, budget, seed, training, validation, and the shared full-precision model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock

from sharkbench.backbones import BackboneConfig, BackboneShape, build, width
from sharkbench.contract import full_models as shared_models
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.schema import Schema
from sharkbench.formats.shape import TableShape
from sharkbench.measure.quality import predict, quality
from sharkbench.model.model import Model
from sharkbench.results.records import Epoch, Quality, TrainingCost
from sharkbench.seeds import generator, seeded
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.table import FullTable
from sharkbench.tasks.config import TaskConfig
from sharkbench.training.fit import FitReport, fit
from sharkbench.training.group import Group
from sharkbench.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@dataclass
class Ledger:
    """Every training stage of one run, in order, with its epochs and cost; and the tables that methods note down."""

    history: list[Epoch] = field(default_factory=list)
    costs: list[TrainingCost] = field(default_factory=list)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, history: Sequence[Epoch], cost: TrainingCost) -> None:
        self.history.extend(history)
        self.costs.append(cost)

    def total(self) -> TrainingCost:
        """Sums over the stages; the peak is the highest of them."""
        seconds, samples = sum(c.seconds for c in self.costs), sum(c.samples for c in self.costs)
        return TrainingCost(
            seconds=seconds,
            samples=samples,
            samples_per_second=samples / seconds if seconds > 0 else 0.0,
            peak_memory_bytes=max((c.peak_memory_bytes for c in self.costs), default=0),
            peak_memory_kind=self.costs[-1].peak_memory_kind if self.costs else "resident",
            epochs=sum(c.epochs for c in self.costs),
        )


@dataclass(frozen=True)
class Workbench:
    """What ``compress(bench)`` gets.

    Seeds pair: with the same ``seed`` every method sees the same batches in the same order and starts from the same
    backbone weights. There is no way to the test split from here; selection is on validation.

    Attributes:
        budget: bytes that the packed layer may take, ``None`` for a method that takes none.
        start: the model of the pipeline stage before this one, if any.
        shared: folder of the full-precision models that runs share.
        checkpoints: folder that lets the run's long trainings go on after a kill.
    """

    dataset: PreparedDataset
    task: TaskConfig
    backbone: BackboneConfig
    dimension: int
    recipe: Recipe
    seed: int
    budget: int | None
    shared: Path
    full_key: str
    on_epoch: Callable[[Epoch], None] | None = None
    start: Model | None = None
    stage: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    checkpoints: Path | None = None

    def for_stage(self, stage: str, *, budget: int | None, start: Model | None) -> Workbench:
        """The same bench for one stage of a pipeline; costs go into the same ledger."""
        return replace(self, stage=stage, budget=budget, start=start)

    # What there is -------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        return self.dataset.schema

    @property
    def shape(self) -> TableShape:
        """Of the full table."""
        vector = width(self.backbone, self.dimension, 0)
        whole = width(self.backbone, self.dimension, len(self.schema.labels))
        return TableShape(self.schema, dimension=vector, first_order=whole - vector)

    @property
    def width(self) -> int:
        """Numbers per row: the dimension, and one per label where the backbone has first-order weights."""
        return self.shape.width

    @property
    def first_order(self) -> int:
        """How many of a row's last numbers are first-order weights."""
        return self.shape.first_order

    @property
    def fp32_bytes(self) -> int:
        """Bytes of the full fp32 table, first-order weights included: what budgets are fractions of."""
        return self.shape.fp32_bytes

    @property
    def init_std(self) -> float:
        """Standard deviation of the full table's rows at the start; generated rows should start with it too."""
        return self.recipe.init_std

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers for ``purpose``, the same for every run with this seed."""
        return generator(self.seed, purpose)

    def seeded(self, purpose: str) -> AbstractContextManager[None]:
        """Within it torch's global random numbers are those of ``purpose``, the same for every run with this seed."""
        return seeded(self.seed, purpose)

    # What to do ----------------------------------------------------------------------------------------------------

    def model(self, embedding: EmbeddingLayer) -> Model:
        """``embedding`` with a fresh backbone; its weights depend on the seed alone."""
        shape = BackboneShape(
            num_fields=len(embedding.fields),
            dimension=self.dimension,
            num_dense=len(self.schema.dense),
            num_labels=len(self.schema.labels),
        )
        with self.seeded("backbone"):
            return Model(embedding, build(self.backbone, shape))

    def full_table(self) -> FullTable:
        """A fresh full-precision table; its rows depend on the seed alone."""
        with self.seeded("table"):
            return FullTable(self.schema, self.width, self.init_std, sparse=self.recipe.sparse)

    def train(
        self,
        model: Model,
        *,
        stage: str = "train",
        callbacks: Sequence[Callback] = (),
        **changes: Any,
    ) -> FitReport:
        """Train ``model`` in place by the recipe (``changes`` replace keys of it); best validation weights restored.

        Args:
            stage: what to call it in histories and progress.
            callbacks: Lightning callbacks for what must happen inside training.

        Raises:
            Diverged: the loss is no longer finite.
        """
        recipe = Recipe.model_validate({**self.recipe.model_dump(), **changes}) if changes else self.recipe
        report = fit(
            model,
            self.dataset,
            self.task,
            recipe,
            seed=self.seed,
            stage=f"{self.stage}/{stage}" if self.stage else stage,
            callbacks=callbacks,
            on_epoch=self.on_epoch,
            checkpoints=self.checkpoints,
        )
        self.ledger.add(report.history, report.cost)
        return report

    def evaluate(self, model: Model) -> dict[str, Quality]:
        """Quality of the trainable ``model`` on the validation split, by label."""
        split = self.dataset.splits["valid"]
        return quality(predict(model, split), split, self.schema.labels, self.task)

    def full_model(self) -> Model:
        """The trained full-precision model of this data set, backbone, recipe and seed.

        Trained by whoever asks first, then shared; its epochs and its cost count for everyone who starts from it, who
        is told of them as of epochs of their own. Where what is shared has been damaged it is trained again.
        """
        model = self.model(self.full_table())
        folder = self.shared / self.full_key
        folder.mkdir(parents=True, exist_ok=True)
        # The processes of one run do the same at the same time; the first one has the lock for all of them.
        group = Group.join(self.recipe.processes)
        with FileLock(folder / ".lock") if group.first else nullcontext():
            if group.agree(group.first and shared_models.kept(folder)):
                history, cost = shared_models.load(folder, model)
                self.ledger.add(history, cost)
                if self.on_epoch is not None:
                    for epoch in history:
                        self.on_epoch(epoch)
                return model
            # Not under this run's stage name: the next run finds it in the store as it is.
            report = replace(self, stage="").train(model, stage="full")
            if group.first:
                shared_models.keep(folder, model, report.history, report.cost)
        return model

    def note(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep a table (field scores, a pruning path ...) beside the run's result; ``rows`` hold plain JSON values."""
        self.ledger.notes[f"{self.stage}/{name}" if self.stage else name] = [dict(row) for row in rows]

    def start_model(self) -> Model:
        """What a method that works on a trained model starts from: the stage before it, else the full model."""
        return self.start if self.start is not None else self.full_model()
