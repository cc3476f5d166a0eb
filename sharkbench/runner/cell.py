"""Computes one run from data to figures. The imports of this module determine results and keys, its callers do not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic_core import to_jsonable_python

from sharkbench.contract.method import Method
from sharkbench.contract.sizing import Size
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.prepare import prepare
from sharkbench.data.samples import SplitName
from sharkbench.errors import DataError, SharkbenchError
from sharkbench.files.digests import seal
from sharkbench.measure.memory import memory_of
from sharkbench.measure.quality import parts, predict, quality
from sharkbench.model import artifact
from sharkbench.model.model import Model, PackedModel
from sharkbench.results.metrics import Parts, Quality
from sharkbench.results.records import Epoch

if TYPE_CHECKING:
    from sharkbench.suite.run import RunSpec


class OverBudget(SharkbenchError):
    """A method's packed layer exceeds its budget in bytes."""


@dataclass(frozen=True)
class Made:
    """A compressed model and the settings that produced it, stated or solved from the budget."""

    model: Model
    method: Method
    size: Size

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON values."""
        used = self.method.settled(self.size)
        return {k: v for k, v in to_jsonable_python(used).items() if k != "name"}


def settle(spec: RunSpec) -> None:
    """Set the threads and seed the random number generators of a process that executes only this run."""
    torch.set_num_threads(spec.train.threads)
    # Methods use the random number generators of the bench; any other draws are made reproducible too.
    random.seed(spec.seed)
    np.random.seed(spec.seed)
    torch.manual_seed(spec.seed)


def open_dataset(spec: RunSpec, cache_dir: Path | None, splits: tuple[SplitName, ...] | None = None) -> PreparedDataset:
    """Open the data that the run was planned for.

    Args:
        splits: the splits to open; by default all, without the test split if the run is not evaluated on it.

    Raises:
        DataError: the data has changed since, or cannot be prepared.
    """
    needed: tuple[SplitName, ...] = ("train", "valid") if spec.judged_on == "valid" else ("train", "valid", "test")
    dataset = prepare(spec.dataset, cache_dir, progress=False, splits=splits or needed)
    if dataset.fingerprint != spec.fingerprint:
        raise DataError(f"data set '{spec.dataset.name}' has changed since the run was planned; run the suite again")
    return dataset


def bench_for(
    spec: RunSpec,
    dataset: PreparedDataset,
    shared: Path,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Workbench:
    """The workbench of the run's method: the run's settings, its data, and its budget in bytes."""
    bench = Workbench(
        dataset=dataset,
        task=spec.task,
        backbone=spec.backbone,
        dimension=spec.dimension,
        recipe=spec.train,
        seed=spec.seed,
        budget=None,
        shared=shared,
        full_key=spec.full_key,
        on_epoch=on_epoch,
        checkpoints=checkpoints,
    )
    return replace(bench, budget=spec.budget.nbytes(bench.fp32_bytes) if spec.budget else None)


def make(spec: RunSpec, bench: Workbench) -> Made:
    """Compute the compressed model.

    Raises:
        Infeasible: the method cannot reach the budget.
        Diverged: training diverged.
    """
    method: Method = spec.method
    size = method.size(bench.room, bench.shape)
    return Made(method.compress(bench), method, size)


def judge(spec: RunSpec, bench: Workbench, made: Made, directory: Path) -> dict[str, Any]:
    """Pack, save into ``directory``, and evaluate the saved model; returns the fields of a result that a model has.

    Raises:
        OverBudget: the packed layer is larger than the budget.
    """
    dataset = bench.dataset
    artifact.save(
        made.model.pack(),
        directory,
        fingerprint=dataset.fingerprint,
        backbone=spec.backbone,
        extra={
            "method": {"name": made.method.name, **made.settings},
            "budget": str(spec.budget) if spec.budget else None,
            "key": spec.key,
        },
    )
    seal(directory, (artifact.PACKED, artifact.BACKBONE))
    packed = artifact.load_model(directory)
    memory, nbytes = memory_of(packed.layer, bench.width), artifact.tensor_bytes(directory)
    if bench.budget is not None and made.method.budgeted and nbytes > bench.budget:
        raise OverBudget(f"the packed layer takes {nbytes:,} bytes, {nbytes - bench.budget:,} more than the budget")
    trained, (valid, _) = bench.evaluate(made.model), _quality(packed, dataset, "valid", spec)
    judged, blocks = _quality(packed, dataset, "test", spec) if spec.judged_on == "test" else ({}, {})
    return {
        "method_config": made.settings,
        "quality": judged,
        "parts": blocks,
        "quality_valid": valid,
        "pack_gap": {
            label: {name: value - trained[label][name] for name, value in values.items()}
            for label, values in valid.items()
        },
        "bytes": nbytes,
        "fp32_bytes": memory.fp32_bytes,
        "bytes_ratio": nbytes / memory.fp32_bytes,
        "param_ratio": memory.param_ratio,
        "bytes_by_field": memory.bytes_by_field,
        "bytes_by_format": memory.bytes_by_format,
        "formats": memory.formats,
        "backbone_bytes": artifact.tensor_bytes(directory, artifact.BACKBONE),
        "training": bench.ledger.total(),
        "history": bench.ledger.history,
    }


def _quality(
    packed: PackedModel, dataset: PreparedDataset, split: SplitName, spec: RunSpec
) -> tuple[Quality, dict[str, dict[str, Parts]]]:
    """Quality by label and, on the test split, its parts."""
    samples, names = dataset.splits[split], dataset.schema.labels
    scores = predict(packed, samples)
    found = quality(scores, samples, names, spec.task)
    return found, parts(scores, samples, names, spec.task) if split == "test" else {}
