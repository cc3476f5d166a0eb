"""Exact AUC over 10 million scores: ours, scikit-learn's and torchmetrics', timed in turns on one thread.

    python benchmarks/auc.py [--scores 10000000] [--rounds 7] [--out results/training/auc.csv]

Logits of a model that is right more often than not, as float32, of which some are equal, and labels of which a quarter
are positive. ``seconds`` are of wall time, ``cpu_seconds`` of all threads, which other programs on the machine hardly
move; medians over the rounds. ``auc`` says that all of them compute the same; torchmetrics does it in float32, on
probabilities.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import benchmark_table
import numpy as np
import sklearn
import torch
import torchmetrics
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc

from sharkbench.tasks.ctr import metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/training/auc.csv"))
    settings = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    labels = (rng.random(settings.scores) < 0.25).astype(np.float32)
    scores = rng.standard_normal(settings.scores, dtype=np.float32) + labels
    logits, clicked = torch.from_numpy(scores), torch.from_numpy(labels).long()
    ways: dict[str, Callable[[], float]] = {
        "sharkbench": lambda: metrics.auc(metrics.sort_scores(scores, labels)),
        f"scikit-learn {sklearn.__version__}": lambda: float(roc_auc_score(labels, scores)),
        f"torchmetrics {torchmetrics.__version__}": lambda: float(binary_auroc(logits, clicked)),
    }
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    found: dict[str, float] = {}
    for _ in range(settings.rounds):
        for way, auc in ways.items():
            begun = time.perf_counter(), time.process_time()
            found[way] = auc()
            taken[way].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    table = []
    for way, times in taken.items():
        seconds, cpu_seconds = (round(statistics.median(kind), 2) for kind in zip(*times, strict=True))
        row = {"way": way, "scores": settings.scores, "seconds": seconds, "cpu_seconds": cpu_seconds}
        row |= {"auc": f"{found[way]:.7f}", "rounds": settings.rounds, "threads": 1, "cpu": benchmark_table.processor()}
        table.append(row)
        print(row)
    benchmark_table.write(settings.out, table)


if __name__ == "__main__":
    main()
