"""One run from data to result: the single entry point that every executor calls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from sharkbench.errors import DataError, Infeasible
from sharkbench.files.durable import write_text
from sharkbench.formats.in_use import kernels_in_use
from sharkbench.machine.environment import environment
from sharkbench.measure.lookup import measure_speed
from sharkbench.model import artifact
from sharkbench.results.records import Epoch, Result, Speed
from sharkbench.results.store import CODE, ENVIRONMENT, NOTES, Store
from sharkbench.runner.cell import bench_for, judge, make, open_dataset, settle
from sharkbench.runner.outcome import facts_of, infeasible
from sharkbench.runner.ranks import other_ranks
from sharkbench.suite.run import RunSpec, present_code
from sharkbench.training.memory import forget_peak


def execute(
    spec: RunSpec,
    directory: Path,
    *,
    shared: Path,
    invocation: str,
    cache_dir: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Result:
    """Compress, pack, save, and evaluate the saved model.

    Args:
        directory: receives the environment, the artifact, and the tables that the method notes down.
        shared: folder of the full-precision models that runs share.
        invocation: ID of the ``sharkbench run``, for the environment.
        cache_dir: cache of prepared data; by default the user's cache.
        on_epoch: called after each epoch of each training stage.

    Raises:
        DataError: the data cannot be read, or data or code have changed since the run was planned.
        Diverged: training diverged.
        OverBudget: the packed layer is larger than the budget.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    settle(spec)
    about = environment(threads=torch.get_num_threads(), kernels=kernels_in_use(), invocation=invocation)
    write_text(directory / ENVIRONMENT, about.model_dump_json(indent=1))
    write_text(directory / CODE, json.dumps(_code(spec), indent=1))
    dataset = open_dataset(spec, cache_dir)
    forget_peak()  # damaged data may just have been prepared again
    bench = bench_for(spec, dataset, shared, on_epoch, Store(shared.parent).checkpoints(spec.key))
    try:
        with other_ranks(spec, shared=shared, cache_dir=cache_dir):
            made = make(spec, bench)
    except Infeasible as error:
        return infeasible(
            spec,
            " ".join(str(error).split()),
            started=started,
            seconds=time.monotonic() - clock,
            budget_bytes=bench.budget,
            fp32_bytes=bench.fp32_bytes,
        )
    figures = judge(spec, bench, made, directory)
    if bench.ledger.notes:
        write_text(directory / NOTES, json.dumps(bench.ledger.notes, indent=1))
    _code(spec)
    return Result(
        **{**facts_of(spec), **figures},
        status="ok",
        started=started,
        budget_bytes=bench.budget,
        seconds=time.monotonic() - clock,
    )


def measure(spec: RunSpec, directory: Path, *, cache_dir: Path | None = None) -> Speed:
    """Time the artifact of a finished run; nothing else should run on the machine."""
    split = open_dataset(spec, cache_dir, (spec.judged_on,)).splits[spec.judged_on]
    return measure_speed(artifact.load_model(directory), split, spec.measure)


def _code(spec: RunSpec) -> dict[str, str]:
    """The code that the run's outcome depends on, module by module.

    Raises:
        DataError: the code has changed since the run was planned. Loaded modules could be partly from before and
            partly from after the change.
    """
    code = present_code()
    if code.digest(spec.roots) != spec.code:
        raise DataError("the code has changed since the run was planned; run the suite again")
    return code.closure(spec.roots)
