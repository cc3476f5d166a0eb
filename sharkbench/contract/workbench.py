"""All that a method may use: data, schema, budget, seed, training, validation, and the shared full-precision model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from torch import Tensor

from sharkbench.backbones import BackboneConfig, BackboneShape, build, width
from sharkbench.contract import full_models as shared_models
from sharkbench.contract.loop import Loop
from sharkbench.contract.sizing import UNLIMITED
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.schema import Schema, with_fields
from sharkbench.formats.shape import TableShape
from sharkbench.measure.quality import predict, quality
from sharkbench.model.model import Model
from sharkbench.results.metrics import Metric, Quality
from sharkbench.results.records import Epoch, TrainingCost
from sharkbench.seeds import generator, seeded
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.kept import keep_fields
from sharkbench.tables.parts import Part, Table
from sharkbench.tables.rows import Rows
from sharkbench.tasks.base import Task
from sharkbench.training.fit import FitReport, fit
from sharkbench.training.group import Group
from sharkbench.training.losses import LossInputs
from sharkbench.training.optimizers import OwnOptimizer
from sharkbench.training.overrides import Overrides
from sharkbench.training.recipe import Recipe
from sharkbench.training.step import Step, ordinary

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@dataclass
class Ledger:
    """Every training stage of one run, in order, with its epochs and cost; and the tables that methods note."""

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

    Runs are paired by seed: with the same ``seed`` every method sees the same batches in the same order and starts from
    the same backbone weights. A method cannot access the test split; selection is on validation.

    Attributes:
        budget: bytes that the packed layer may take, ``None`` for a method without a budget.
        start: the model of the pipeline stage before this one, if any.
        shared: folder of the full-precision models that runs share.
        checkpoints: folder from which the run's long trainings resume after a kill.
    """

    dataset: PreparedDataset
    task: Task
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
        """The same bench for one stage of a pipeline; costs are recorded in the same ledger."""
        return replace(self, stage=stage, budget=budget, start=start)

    # What there is -------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        return self.dataset.schema

    @property
    def fields(self) -> tuple[int, ...]:
        """The fields to compress: those that the stage before this one kept, or all where there is none."""
        return self.start.embedding.fields if self.start is not None else tuple(range(self.schema.num_fields))

    @property
    def room(self) -> int:
        """Bytes that the packed layer may take; more than any table takes where the method's settings decide."""
        return UNLIMITED if self.budget is None else self.budget

    @property
    def shape(self) -> TableShape:
        """Shape of the full table of :attr:`fields`: its schema has these fields only, in the same order."""
        vector = width(self.backbone, self.dimension, 0)
        whole = width(self.backbone, self.dimension, len(self.schema.labels))
        schema = self.schema if self.start is None else with_fields(self.schema, self.fields)
        return TableShape(schema, dimension=vector, first_order=whole - vector)

    @property
    def width(self) -> int:
        """Weights per row: the dimension, and one per label where the backbone has first-order weights."""
        return self.shape.width

    @property
    def first_order(self) -> int:
        """Number of first-order weights, the last weights of a row."""
        return self.shape.first_order

    @property
    def fp32_bytes(self) -> int:
        """Bytes of the full fp32 table of all fields, first-order weights included: what budgets are fractions of."""
        return replace(self, start=None).shape.fp32_bytes

    @property
    def init_std(self) -> float:
        """Initial standard deviation of the full table's rows; generated rows should start with it too."""
        return self.recipe.init_std

    @property
    def device(self) -> torch.device:
        """The device that the recipe trains on: the stated one, or else a GPU where there is one."""
        on_gpu = self.recipe.accelerator == "gpu" or (self.recipe.accelerator == "auto" and torch.cuda.is_available())
        return torch.device("cuda", self.recipe.device) if on_gpu else torch.device("cpu")

    @property
    def metric(self) -> Metric:
        """The task's primary metric: what a method selects by. ``bench.metric.score(value)`` is higher where better."""
        return self.task.primary

    def generator(self, purpose: str) -> torch.Generator:
        """A random number generator for ``purpose``, the same for every run with this seed."""
        return generator(self.seed, purpose)

    def seeded(self, purpose: str) -> AbstractContextManager[None]:
        """Within it torch's global random number generator is seeded for ``purpose``, alike in every run with this
        seed."""
        return seeded(self.seed, purpose)

    # What to do ----------------------------------------------------------------------------------------------------

    def shape_of(self, dimension: int) -> TableShape:
        """Shape of a full table with vectors of another dimension, for a method that chooses its own."""
        return replace(self.shape, dimension=width(self.backbone, dimension, 0))

    def model(self, embedding: EmbeddingLayer, *, dimension: int | None = None) -> Model:
        """``embedding`` with a newly initialised backbone, whose weights depend on the seed alone.

        Args:
            dimension: dimension of a field vector, the suite's unless given. Budgets stay fractions of the full table
                of the suite's dimension; the bytes of the packed layer count as they are.

        Raises:
            ValueError: the width of the layer's rows is not the width that the backbone reads.
        """
        dimension = self.dimension if dimension is None else dimension
        if embedding.width != (reads := self.shape_of(dimension).width):
            raise ValueError(
                f"the embedding layer has rows of {embedding.width} numbers, a backbone of dimension {dimension} reads "
                f"{reads}; give bench.model the layer's dimension"
            )
        shape = BackboneShape(
            num_fields=len(embedding.fields),
            dimension=dimension,
            num_dense=len(self.schema.dense),
            num_labels=len(self.schema.labels),
        )
        with self.seeded("backbone"):
            return Model(embedding, build(self.backbone, shape))

    def table(self, *parts: Part) -> Table:
        """One layer of parts, each with fields of its own; parts without fields are left out."""
        return Table(self.schema, next((part.width for part in parts if part.fields), self.width), parts)

    def full_table(self) -> EmbeddingLayer:
        """A newly initialised full-precision table of :attr:`fields`, whose rows depend on the seed alone."""
        with self.seeded("table"):
            rows = Rows.initial(self.schema, range(self.schema.num_fields), self.width, self.init_std)
        return keep_fields(self.table(rows), self.fields)

    def train(
        self,
        model: Model,
        *,
        stage: str = "train",
        step: Callable[[Step], Tensor] = ordinary,
        loss: Callable[[LossInputs], Tensor] | None = None,
        teacher: Model | None = None,
        gradients: Callable[[Model], None] | None = None,
        optimizers: Sequence[OwnOptimizer] = (),
        callbacks: Sequence[Callback] = (),
        **changes: Any,
    ) -> FitReport:
        """Train ``model`` in place by the recipe (``changes`` replace keys of it); best validation weights restored.

        A long training resumes after a kill; so the changing state of a method's own steps, losses, optimizers and
        callbacks must be tensors and plain values only.

        Args:
            stage: name in histories and progress.
            step: carries out each training step in place of the ordinary one, and returns its loss; see
                :class:`~sharkbench.training.step.Step`.
            loss: replaces the task's loss; see :class:`~sharkbench.training.losses.LossInputs`.
            teacher: a trained model whose logits are passed to ``loss``.
            gradients: changes the gradients of the model's parameters after L2 and before they are clipped.
            optimizers: the method's own optimizers, each for some of the model's parameters; an embedding layer may
                also name its own, see ``EmbeddingLayer.parameter_groups``.
            callbacks: Lightning callbacks for anything else that must happen in training.

        Raises:
            Diverged: the loss is no longer finite.
            ValueError: a model is its own teacher, or an optimizer's parameters are not the model's.
        """
        if teacher is model:
            raise ValueError("a model cannot be its own teacher; give a trained copy")
        recipe = Recipe.model_validate({**self.recipe.model_dump(), **changes}) if changes else self.recipe
        report = fit(
            model,
            self.dataset,
            self.task,
            recipe,
            seed=self.seed,
            stage=self.stage_name(stage),
            overrides=Overrides(step, loss, teacher, gradients, tuple(optimizers)),
            callbacks=callbacks,
            on_epoch=self.on_epoch,
            checkpoints=self.checkpoints,
        )
        self.ledger.add(report.history, report.cost)
        return report

    def loop(
        self,
        stage: str,
        state: dict[str, Any] | None = None,
        *,
        rounds: int | None = None,
        patience: int | None = None,
        keep_best: bool = False,
    ) -> Loop:
        """A loop of the method's own, outside of training: closed forms, coordinate descent, passes over the data.

        ``with bench.loop(...) as loop:`` counts the cost of its body; see :class:`~sharkbench.contract.loop.Loop`.

        Args:
            stage: name in histories and progress.
            state: all that the loop starts from and changes: tensors, plain values and generators. After a kill the
                loop resumes with it, if it starts from the same state.
            rounds: at most so many; as many as the method takes unless given.
            patience: the loop ends after so many consecutive validations without a gain; never unless given.
            keep_best: restore the state of the best validation at the end.
        """
        return Loop(self, stage, state or {}, rounds=rounds, patience=patience, keep_best=keep_best)

    def stage_name(self, stage: str) -> str:
        """Name of a stage in histories: prefixed by the stage of the pipeline, if there is one."""
        return f"{self.stage}/{stage}" if self.stage else stage

    def evaluate(self, model: Model) -> Quality:
        """Quality of the trainable ``model`` on the validation split: label -> metric -> value."""
        split = self.dataset.splits["valid"]
        return quality(predict(model, split), split, self.schema.labels, self.task)

    def value(self, model: Model) -> float:
        """The primary metric of the trainable ``model`` on the validation split, mean over labels."""
        return self.metric.mean(self.evaluate(model))

    def full_model(self) -> Model:
        """The trained full-precision model of this data set, backbone, recipe and seed.

        The first run that asks trains it, and others share it; its epochs and its cost count for every run that starts
        from it, and are reported as epochs of that run. A shared model that has been damaged is trained again.
        """
        model = self.model(replace(self, start=None).full_table())
        folder = self.shared / self.full_key
        folder.mkdir(parents=True, exist_ok=True)
        # The processes of one run do the same at the same time; the first process holds the lock for all of them.
        group = Group.join(self.recipe.processes)
        with FileLock(folder / ".lock") if group.first else nullcontext():
            if group.agree(group.first and shared_models.kept(folder)):
                history, cost = shared_models.load(folder, model)
                self.ledger.add(history, cost)
                if self.on_epoch is not None:
                    for epoch in history:
                        self.on_epoch(epoch)
                return model
            # Without this run's stage prefix: the next run reads the history from the store as it is.
            report = replace(self, stage="").train(model, stage="full")
            if group.first:
                shared_models.keep(folder, model, report.history, report.cost)
        return model

    def note(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store a table (field scores, a pruning path ...) beside the run's result; ``rows`` hold plain JSON values."""
        self.ledger.notes[self.stage_name(name)] = [dict(row) for row in rows]

    def start_model(self) -> Model:
        """The model that a post-training method starts from: that of the stage before it, else the full model."""
        return self.start if self.start is not None else self.full_model()
