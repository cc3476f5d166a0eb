"""Trains on mapped files and scores them: ``python -m tests.training.train_on_files FOLDER ROWS...``

Prints for each number of rows, one after the other, the most bytes of its own that the process has had meanwhile.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from sharkbench.backbones.ctr.dnn import DNN
from sharkbench.contract.workbench import Workbench
from sharkbench.data.arrow import SplitWriter, open_split
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Split
from sharkbench.data.schema import Field, Schema
from sharkbench.measure.quality import predict
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.recipe import Recipe

SLOTS, DENSE, CHUNK, JUDGED = 8, 48, 50_000, 10_000
ROW_BYTES = 4 * (SLOTS + DENSE + 1)
SCHEMA = Schema(tuple(Field(f"f{i}", 100) for i in range(SLOTS)), ("click",), tuple(f"d{i}" for i in range(DENSE)))


def write(path: Path, rows: int) -> Split:
    rng = np.random.default_rng(0)
    writer = SplitWriter(path, rows, SLOTS, DENSE, 1, group=False)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        writer.append(
            ids=(rng.integers(100, size=(count, SLOTS)) + SCHEMA.offsets[:-1]).astype(np.int32),
            dense=rng.standard_normal((count, DENSE), dtype=np.float32),
            labels=rng.integers(2, size=(count, 1)).astype(np.float32),
        )
    writer.close()
    return open_split(path)


def train_and_score(folder: Path, rows: int) -> None:
    train, judged = write(folder / f"{rows}.arrow", rows), write(folder / "judged.arrow", JUDGED)
    bench = Workbench(
        dataset=PreparedDataset("files", folder, str(rows), SCHEMA, {}, {"train": train, "valid": judged}),
        task=Ctr(),
        backbone=DNN(hidden=(8,)),
        dimension=2,
        recipe=Recipe(learning_rate=0.001, batch_size=8192, epochs=1),
        seed=0,
        budget=None,
        shared=folder,
        full_key="none",
    )
    model = bench.model(bench.full_table())
    bench.train(model)
    assert len(predict(model.pack(), train)) == rows


@contextmanager
def most_anonymous(seen: list[int]) -> Iterator[None]:
    """Adds the most anonymous bytes that this process has within it, looked at every few milliseconds."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            lines = Path("/proc/self/status").read_text().splitlines()
            seen[-1] = max(seen[-1], next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")))

    seen.append(0)
    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def main() -> None:
    torch.set_num_threads(1)
    seen: list[int] = []
    for rows in sys.argv[2:]:
        with most_anonymous(seen):
            train_and_score(Path(sys.argv[1]), int(rows))
    print(*seen)


if __name__ == "__main__":
    main()
