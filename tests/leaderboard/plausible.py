"""Stores that look like those of a real suite: several data sets, backbones and labels, with failures in between."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sharkbench.results.records import Result, Speed, Timing, TrainingCost
from sharkbench.results.store import Store
from sharkbench.suite.run import RunSpec
from sharkbench.tasks.ctr.blocks import auc_blocks
from tests.leaderboard.handmade import ENVIRONMENT
from tests.records import a_quality

BUDGETS = (0.5, 0.25, 0.1)
FALL = {"full": 0.0, "int8": 0.0002, "hash": 0.010, "qr": 0.004, "f_permutation": 0.002}
"""AUC that a method loses at a tenth of the bytes."""
FIELDS = ("user_id", "video_id", "author_id", "music_id", "tag", "tab", "hour", "city", "device", "age", "level")


def fill(
    store: Store,
    *,
    datasets: Sequence[str] = ("kuairand", "synthetic"),
    backbones: Sequence[str] = ("deepfm", "dcnv2"),
    methods: Iterable[str] = FALL,
    labels: Sequence[str] = ("is_click",),
    seeds: int = 3,
    rows: int = 2000,
) -> None:
    """Fill ``store``. ``qr`` is infeasible at the smallest budget, and one seed of ``hash`` has run out of memory."""
    rng = np.random.default_rng(0)
    truth = (rng.random(rows) < 0.3).astype(int)
    signal, shared = truth + rng.normal(size=rows), rng.normal(size=rows)
    for dataset, backbone, method in itertools.product(datasets, backbones, methods):
        for budget, seed in itertools.product((None,) if method in ("full", "int8") else BUDGETS, range(seeds)):
            _add(store, dataset, backbone, method, budget, seed, labels, (truth, signal, shared), rng)


def _add(
    store: Store,
    dataset: str,
    backbone: str,
    method: str,
    budget: float | None,
    seed: int,
    labels: Sequence[str],
    test: tuple[np.ndarray[Any, Any], ...],
    rng: np.random.Generator,
) -> None:
    truth, signal, shared = test
    spec = RunSpec.model_validate(
        {
            "suite": "plausible",
            "dataset": {"source": "synthetic", "name": dataset},
            "fingerprint": f"{dataset}-0123456789",
            "task": {"name": "ctr"},
            "backbone": {"name": backbone},
            "dimension": 16,
            "method": "full",
            "method_label": method,
            "code": method,
            "budget": budget,
            "seed": seed,
            "train": {},
            "measure": {},
        }
    )
    ratio = 1.0 if method == "full" else 0.31 if method == "int8" else float(budget or 1) * 0.99
    facts: dict[str, Any] = {
        "key": spec.key,
        "suite": "plausible",
        "dataset": dataset,
        "split": "temporal" if dataset == "kuairand" else "random",
        "data_fingerprint": spec.fingerprint,
        "backbone": backbone,
        "method": method,
        "method_label": method,
        "code": "1",
        "method_config": {"rows": 1000, "per_field": True} if budget else {},
        "dimension": 16,
        "budget": str(spec.budget) if spec.budget else None,
        "budget_bytes": int(budget * 3_000_000) if budget else None,
        "fp32_bytes": 3_000_000,
        "seed": seed,
        "setting": spec.model_copy(update={"seed": 0}).key,
        "comparison": spec.model_copy(update={"seed": 0}).full_key,
        "started": f"2026-01-0{seed + 1}T00:00:00+00:00",
        "seconds": 60.0,
    }
    directory = store.directory(spec.key)
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(spec.model_dump_json())
    (directory / "environment.json").write_text(ENVIRONMENT.model_dump_json())
    if method == "qr" and budget == min(BUDGETS):
        facts |= {"status": "infeasible", "reason": "needs at least 600,000 bytes, the budget is 300,000"}
    elif method == "hash" and budget == max(BUDGETS) and seed == 1:
        facts |= {"status": "failed", "kind": "out of memory", "reason": "the process was killed\nat 7.9 GiB"}
    else:
        noise = 0.3 + 40 * FALL.get(method, 0.01) * -np.log10(ratio) + 0.005 * seed
        quality, parts = {}, {}
        for label in labels:
            scores = signal + noise * shared + 0.03 * rng.normal(size=len(truth))
            blocks = auc_blocks(scores, truth)
            auc = float(np.mean(blocks.samples["positives"]))
            quality[label], parts[label] = a_quality(auc=auc), {"auc": blocks}
        shares = rng.dirichlet(np.arange(len(FIELDS), 0, -1))
        facts |= {
            "status": "ok",
            "quality": quality,
            "parts": parts,
            "quality_valid": quality,
            "bytes": int(3_000_000 * ratio),
            "bytes_ratio": ratio,
            "param_ratio": ratio,
            "bytes_by_field": {
                name: int(3_000_000 * ratio * share) for name, share in zip(FIELDS, shares, strict=True)
            },
            "formats": ["int8" if method == "int8" else "dense"],
            "backbone_bytes": 100_000,
            "training": TrainingCost(
                seconds=50 + 10 * rng.random(),
                samples=800_000,
                samples_per_second=16_000,
                peak_memory_bytes=900_000_000,
                peak_memory_kind="resident",
                epochs=2,
            ),
        }
        (directory / "speed.json").write_text(_speed(1.0 + 1.5 * (1 - ratio) * rng.random()).model_dump_json())
        if method == "f_permutation":
            path = [
                {
                    "step": i,
                    "fields": 11 - i,
                    "bytes_ratio": 1 - 0.09 * i,
                    "auc": 0.73 - 0.001 * i,
                    "dropped": FIELDS[i],
                }
                for i in range(6)
            ]
            scores = [{"round": 1, "rank": i + 1, "field": name, "score": 1 / (i + 1)} for i, name in enumerate(FIELDS)]
            (directory / "notes.json").write_text(json.dumps({"path": path, "scores": scores}))
    (directory / "result.json").write_text(Result.model_validate(facts).model_dump_json())


def _speed(ratio: float) -> Speed:
    timing = Timing(
        name="rows",
        rows=40_000,
        batch=4096,
        threads=1,
        stream="data",
        per_second=ratio * 1e8,
        per_second_low=ratio * 9e7,
        per_second_high=ratio * 1.1e8,
        ratio_torch=2 * ratio,
        ratio_fp32=ratio,
    )
    return Speed(
        hardware="a processor, 2 cores",
        kernels={"dense": "c"},
        lookups=[timing],
        model_samples_per_second=5e4,
        model_ratio_fp32=1.05,
        other_cpu_percent=1.0,
    )
