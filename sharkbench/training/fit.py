"""Trains a model by a recipe: a Lightning Trainer, early stopping on validation, the best weights restored."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.loader import BatchStream
from sharkbench.errors import DataError
from sharkbench.model.model import Model
from sharkbench.results.metrics import monitored
from sharkbench.results.records import Epoch, TrainingCost
from sharkbench.seeds import derive, seeded
from sharkbench.tables.sharded import divided
from sharkbench.tasks.base import Task
from sharkbench.training.checkpoint import Checkpoint, Finished
from sharkbench.training.data_parallel import local_rank, local_size, replicas
from sharkbench.training.group import Group
from sharkbench.training.kept import AtomicFile
from sharkbench.training.memory import peak_resident_bytes
from sharkbench.training.module import CtrModule, KeepBest
from sharkbench.training.overrides import ORDINARY, Overrides
from sharkbench.training.parts import TrainPart, ValidationPart
from sharkbench.training.recipe import Recipe
from sharkbench.training.synced_norm import synced_norms

VALIDATION_BATCH = 8192


@dataclass(frozen=True)
class FitReport:
    """Report of one training stage.

    Attributes:
        history: one entry per validation, in order.
        cost: cost of this stage alone, including validation.
        best_epoch: the ``epoch`` of ``history`` whose weights were restored.
    """

    history: list[Epoch]
    cost: TrainingCost
    best_epoch: int


def fit(
    model: Model,
    dataset: PreparedDataset,
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    stage: str = "train",
    overrides: Overrides = ORDINARY,
    callbacks: Sequence[Callback] = (),
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> FitReport:
    """Train ``model`` in place, on the CPU or a GPU; it ends on the CPU with the weights of its best validation.

    With ``recipe.processes`` above one, each process calls this with the same arguments and gets the same model.

    Batch order and dropout depend on ``seed`` alone. The Lightning module given to ``callbacks`` has the model as
    ``model`` and the validations so far as ``history``.

    Args:
        overrides: the method's replacements for parts of the training loop.
        checkpoints: folder from which a long training resumes after a kill, see
            :mod:`sharkbench.training.checkpoint`; a training over several processes starts again.
            ``on_epoch`` is called only for the epochs that are trained now.

    Raises:
        Diverged: the loss or a prediction is not finite.
        InputError: the recipe's processes have not been started.
        DataError: a split is too small to train or validate on.
    """
    train, valid = dataset.splits["train"], dataset.splits["valid"]
    group = Group.join(recipe.processes)
    for name, split, least in (("train", train, max(2, group.size)), ("valid", valid, group.size)):
        if len(split) < least:
            raise DataError(f"data set '{dataset.name}': the {name} split has {len(split)} rows; take a larger share")
    on_gpu = recipe.accelerator == "gpu" or (recipe.accelerator == "auto" and torch.cuda.is_available())
    device = recipe.device + local_rank(group)
    # Batch normalisation cannot train on a single sample, nor a process on none.
    drop_last = 0 < len(train) % recipe.batch_size < max(2, group.size)
    if group.size == 1:
        steps = BatchStream(train, recipe.batch_size, derive(seed, "batches"), drop_last)
        validation = BatchStream(valid, VALIDATION_BATCH)
    else:
        steps = TrainPart(train, recipe.batch_size, derive(seed, "batches"), drop_last, group)
        validation = ValidationPart(valid, VALIDATION_BATCH, group)
    by_group = any(metric.grouped for metric in monitored(task.metrics))
    groups = valid.group.numpy() if by_group and valid.group is not None else None
    module = CtrModule(model, task, recipe, dataset.schema.labels, stage, group, overrides, groups)
    keep_best = KeepBest(recipe, task.monitor(recipe.monitor), on_epoch)
    watching = [keep_best, *callbacks]
    checkpoint = None
    if checkpoints is not None and group.size == 1:  # the state of several processes is not saved in one file
        start = [stage, seed, recipe.model_dump(), task.model_dump(), dataset.fingerprint]
        checkpoint = Checkpoint(checkpoints, module, watching, steps, start=start)
        if (done := checkpoint.finished()) is not None:
            model.train()
            return _report(done, device, on_gpu, group)
    started = time.perf_counter()
    # Draws for samples differ between processes; draws that must be equal in all use their own generators.
    chance = "training" if group.first else f"training {group.rank}"
    model.embedding.use_sparse_gradients(recipe.sparse)
    tables = model.embedding.row_tables() if recipe.shard_tables and group.size > 1 else []
    with (
        divided(tables, group.rank, group.size, group.gather),
        _quiet(),
        _threads(recipe.threads),
        _repeatable(on_gpu),
        _interruptible(),
        synced_norms(model, group),
        _taught(overrides.teacher, torch.device("cuda", device) if on_gpu else torch.device("cpu")),
        seeded(seed, chance),
    ):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        trainer = Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=[recipe.device + i for i in range(local_size(group))] if on_gpu else local_size(group),
            **replicas(group),
            precision="bf16-mixed" if recipe.precision == "bf16-mixed" else "32-true",
            max_epochs=recipe.epochs,
            val_check_interval=max(len(steps) // recipe.validations_per_epoch, 1),
            num_sanity_val_steps=0,
            # First, so that the best weights are saved before another callback changes the model.
            # Last, so that a checkpoint includes the changes of all other callbacks.
            callbacks=watching if checkpoint is None else [*watching, checkpoint],
            plugins=AtomicFile(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resumable = checkpoint.resumable() if checkpoint is not None else None
        trainer.fit(module.train(), steps, validation, ckpt_path=resumable)
        if keep_best.weights:
            model.load_state_dict(keep_best.weights)
        # The trainer has a reference cycle: objects as large as the table would stay until it is collected.
        keep_best.weights.clear()
        trainer.optimizers = []
        model.zero_grad()
        model.cpu()
    done = Finished(
        history=module.history,
        best_epoch=keep_best.best_epoch or len(module.history),
        samples=group.total(module.samples),
        epochs=-(-module.steps // len(steps)),
        seconds=time.perf_counter() - started if checkpoint is None else checkpoint.seconds,
    )
    if checkpoint is not None:
        checkpoint.finish(done)
    return _report(done, device, on_gpu, group)


def _report(done: Finished, device: int, on_gpu: bool, group: Group) -> FitReport:
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else peak_resident_bytes()
    cost = TrainingCost(
        seconds=done.seconds,
        samples=done.samples,
        samples_per_second=done.samples / done.seconds,
        peak_memory_bytes=group.largest(peak),
        peak_memory_kind="cuda allocated" if on_gpu else "resident",
        epochs=done.epochs,
    )
    return FitReport(history=done.history, cost=cost, best_epoch=done.best_epoch)


@contextmanager
def _taught(teacher: Model | None, device: torch.device) -> Iterator[None]:
    """Put a teacher in evaluation mode on the model's device; afterwards it is on the CPU again, in its former mode."""
    if teacher is None:
        yield
        return
    was_training = teacher.training
    teacher.eval().to(device)
    try:
        yield
    finally:
        teacher.cpu().train(was_training)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Lightning's notes on devices and its advice on loggers and workers."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            logger.setLevel(level)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _repeatable(on_gpu: bool) -> Iterator[None]:
    """On a GPU, use the deterministic form of every operation that has one; CPU training is deterministic anyway."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS is not deterministic
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Keep Ctrl-C a ``KeyboardInterrupt``: Lightning would turn it into an exit and leave the signal ignored."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        yield
    except SystemExit as exit_:
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
