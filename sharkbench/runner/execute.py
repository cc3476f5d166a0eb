"""One run from data to result: the single entry point that every executor calls."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from sharkbench import artifact
from sharkbench.data.dataset import PreparedDataset, SplitName
from sharkbench.data.prepare import prepare
from sharkbench.digests import seal
from sharkbench.durable import write_text
from sharkbench.environment import environment
from sharkbench.errors import DataError, Infeasible, SharkbenchError
from sharkbench.formats import kernels
from sharkbench.measure.auc_blocks import with_auc_blocks
from sharkbench.measure.lookup import measure_speed
from sharkbench.measure.memory import memory_of
from sharkbench.measure.quality import predict, quality
from sharkbench.method import Method
from sharkbench.model import PackedModel
from sharkbench.records import Epoch, Quality, Result, Speed
from sharkbench.runner.companions import companions
from sharkbench.runner.outcome import facts_of, infeasible
from sharkbench.store import ENVIRONMENT, NOTES, Store
from sharkbench.suite.run import RunSpec
from sharkbench.training.memory import forget_peak
from sharkbench.workbench import Workbench


class OverBudget(SharkbenchError):
    """A method's packed layer takes more bytes than it was given."""


def execute(
    spec: RunSpec,
    directory: Path,
    *,
    shared: Path,
    invocation: str,
    cache_dir: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Result:
    """Compress, pack, save, and measure what was saved.

    Args:
        directory: gets the environment, the artifact, and the tables that the method notes down.
        shared: folder of the full-precision models that runs share.
        invocation: of ``sharkbench run``, for the environment.
        cache_dir: of prepared data; the data room's own unless given.
        on_epoch: called after each epoch of each training stage.

    Raises:
        DataError: the data cannot be read or is not what the run was planned for.
        Diverged: training did.
        OverBudget: the packed layer is larger than the budget.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    settle(spec)
    about = environment(threads=torch.get_num_threads(), kernels=kernels.in_use(), invocation=invocation)
    write_text(directory / ENVIRONMENT, about.model_dump_json(indent=1))
    dataset = open_dataset(spec, cache_dir)
    forget_peak()  # data that was damaged has just been prepared again
    bench = Workbench.for_run(spec, dataset, shared, on_epoch, Store(shared.parent).checkpoints(spec.key))
    try:
        with companions(spec, shared=shared, cache_dir=cache_dir):
            method = sized(spec, bench)
            model = method.compress(bench)
    except Infeasible as error:
        return infeasible(
            spec,
            " ".join(str(error).split()),
            started=started,
            seconds=time.monotonic() - clock,
            budget_bytes=bench.budget,
            fp32_bytes=bench.fp32_bytes,
        )
    artifact.save(
        model.pack(),
        directory,
        fingerprint=dataset.fingerprint,
        backbone=spec.backbone,
        extra={"method": method.model_dump(mode="json"), "budget": facts_of(spec)["budget"], "key": spec.key},
    )
    seal(directory, (artifact.PACKED, artifact.BACKBONE))
    packed = artifact.load_model(directory)
    memory, nbytes = memory_of(packed.layer), artifact.tensor_bytes(directory)
    if bench.budget is not None and method.budgeted and nbytes > bench.budget:
        raise OverBudget(f"the packed layer takes {nbytes:,} bytes, {nbytes - bench.budget:,} more than the budget")
    if bench.ledger.notes:
        write_text(directory / NOTES, json.dumps(bench.ledger.notes, indent=1))
    trained, valid = bench.evaluate(model), _quality(packed, dataset, "valid", spec)
    judged = _quality(packed, dataset, "test", spec) if spec.judged_on == "test" else {}
    return Result(
        **{**facts_of(spec), "method_config": method.model_dump(mode="json", exclude={"name"})},
        status="ok",
        started=started,
        budget_bytes=bench.budget,
        quality=judged,
        quality_valid=valid,
        pack_gap={label: valid[label].auc - trained[label].auc for label in valid},
        bytes=nbytes,
        fp32_bytes=memory.fp32_bytes,
        bytes_ratio=nbytes / memory.fp32_bytes,
        param_ratio=memory.param_ratio,
        bytes_by_field=memory.bytes_by_field,
        bytes_by_format=memory.bytes_by_format,
        formats=memory.formats,
        backbone_bytes=artifact.tensor_bytes(directory, artifact.BACKBONE),
        training=bench.ledger.total(),
        history=bench.ledger.history,
        seconds=time.monotonic() - clock,
    )


def settle(spec: RunSpec) -> None:
    """Threads and random numbers of a process that is this run's alone."""
    torch.set_num_threads(spec.train.threads)
    # Methods take their random numbers from the bench; what escapes that is the same every time too.
    random.seed(spec.seed)
    np.random.seed(spec.seed)
    torch.manual_seed(spec.seed)


def sized(spec: RunSpec, bench: Workbench) -> Method:
    """The run's method, its settings solved from the budget.

    Raises:
        Infeasible: it cannot reach the budget.
    """
    method: Method = spec.method
    if method.budgeted and bench.budget is not None:
        method = method.sized_for(bench.budget, bench.shape)
    return method


def measure(spec: RunSpec, directory: Path, *, cache_dir: Path | None = None) -> Speed:
    """Time the artifact of a finished run; wants the machine to itself."""
    split = open_dataset(spec, cache_dir, (spec.judged_on,)).splits[spec.judged_on]
    return measure_speed(artifact.load_model(directory), split, spec.measure)


def open_dataset(spec: RunSpec, cache_dir: Path | None, splits: tuple[SplitName, ...] | None = None) -> PreparedDataset:
    """The data that the run was planned for.

    Args:
        splits: what is opened of it; unless given all, or all but the test split where the run is not judged on that.

    Raises:
        DataError: it has changed since, or cannot be prepared.
    """
    needed: tuple[SplitName, ...] = ("train", "valid") if spec.judged_on == "valid" else ("train", "valid", "test")
    dataset = prepare(spec.dataset, cache_dir, progress=False, splits=splits or needed)
    if dataset.fingerprint != spec.fingerprint:
        raise DataError(f"data set '{spec.dataset.name}' has changed since the run was planned; run the suite again")
    return dataset


def _quality(packed: PackedModel, dataset: PreparedDataset, split: str, spec: RunSpec) -> dict[str, Quality]:
    samples = dataset.splits[split]  # type: ignore[index]
    scores = predict(packed, samples)
    found = quality(scores, samples, dataset.schema.labels, spec.task)
    return with_auc_blocks(found, scores, samples.labels.numpy()) if split == "test" else found
