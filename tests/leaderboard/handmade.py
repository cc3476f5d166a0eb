"""Runs with figures that a test chooses."""

from __future__ import annotations

from typing import Any

from sharkbench.results.records import REFERENCE, Environment, Result, Speed, Timing, TrainingCost
from sharkbench.results.store import Store
from sharkbench.suite.run import RunSpec
from tests.records import a_quality

ENVIRONMENT = Environment(
    sharkbench="0.1.0",
    git_revision="abc123",
    git_dirty=False,
    python="3.11.7",
    packages={"torch": "2.13.0", "numpy": "2.4.6"},
    platform="Linux",
    cpu="a processor",
    cores=2,
    memory_bytes=8 * 10**9,
    gpus=[],
    threads=2,
    kernels={"dense": "torch"},
    invocation="first",
)


def add_run(
    store: Store,
    method: str = "hash",
    budget: float | None = 0.25,
    seed: int = 0,
    auc: dict[str, float] | None = None,
    *,
    epochs: int = 1,
    started: str = "2026-01-01T00:00:00",
    speed: Speed | None = None,
    **changes: Any,
) -> str:
    """Add a finished run to the store and return its key. ``auc`` is by label; ``None`` is for a run that failed.

    ``plain`` is the label of the full-precision table.
    """
    spec = RunSpec.model_validate(
        {
            "suite": "demo",
            "dataset": {"source": "synthetic"},
            "fingerprint": "f00d",
            "task": {"name": "ctr"},
            "backbone": {"name": "dnn"},
            "dimension": 8,
            "method": "full",
            "method_label": method,
            "code": method,
            "budget": budget,
            "seed": seed,
            "train": {"epochs": epochs},
            "measure": {},
        }
    )
    quality = {label: a_quality(auc=value, logloss=1 - value) for label, value in (auc or {}).items()}
    fraction = budget or 1.0
    data: dict[str, Any] = {
        "key": spec.key,
        "status": "ok",
        "suite": "demo",
        "dataset": "synthetic",
        "split": "random",
        "data_fingerprint": "f00d",
        "backbone": "dnn",
        "method": REFERENCE if method == "plain" else method,
        "method_label": method,
        "code": "1",
        "dimension": 8,
        "budget": str(spec.budget) if spec.budget else None,
        "budget_bytes": int(1000 * fraction) if budget else None,
        "seed": seed,
        "setting": spec.model_copy(update={"seed": 0}).key,
        "comparison": spec.model_copy(update={"seed": 0}).full_key,
        "started": started,
        "seconds": 10.0,
    }
    if auc is not None:
        training = TrainingCost(
            seconds=8.0 + seed,
            samples=800,
            samples_per_second=100.0,
            peak_memory_bytes=10**8,
            peak_memory_kind="resident",
            epochs=epochs,
        )
        data |= {
            "quality": quality,
            "quality_valid": quality,
            "pack_gap": {label: {"auc": -0.001} for label in quality},
            "bytes": int(1000 * fraction),
            "fp32_bytes": 1000,
            "bytes_ratio": fraction,
            "param_ratio": fraction,
            "formats": ["dense fp32"],
            "training": training,
        }
    directory = store.directory(spec.key)
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(spec.model_dump_json())
    (directory / "environment.json").write_text(ENVIRONMENT.model_dump_json())
    (directory / "result.json").write_text(Result.model_validate(data | changes).model_dump_json())
    if speed:
        (directory / "speed.json").write_text(speed.model_dump_json())
    return spec.key


def speed_of(ratio: float, *, hardware: str = "a processor, 2 cores") -> Speed:
    """Own size with one and two threads, and a production size; ``ratio`` is that of the own size with one thread."""

    def timing(name: str, rows: int, threads: int, ratio: float, stream: str = "data") -> Timing:
        return Timing(
            name=name,
            rows=rows,
            batch=4096,
            threads=threads,
            stream=stream,  # type: ignore[arg-type]
            per_second=ratio * 1e8,
            per_second_low=ratio * 9e7,
            per_second_high=ratio * 1.1e8,
            ratio_torch=2 * ratio,
            ratio_fp32=ratio,
        )

    return Speed(
        hardware=hardware,
        kernels={"dense": "torch"},
        lookups=[
            timing("own, two threads", 50, 2, 7.0),
            timing("own", 50, 1, ratio),
            timing("uniform", 50, 1, 9.0, "uniform"),
            timing("production", 10_000_000, 1, 3 * ratio),
        ],
        model_samples_per_second=5e4,
        model_ratio_fp32=1.1,
        large_model_samples_per_second=2e4,
        large_model_ratio_fp32=1.2,
        other_cpu_percent=3.0,
    )
