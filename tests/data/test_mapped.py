"""Pages that have been read are left, and come back as they were; memory that is no file's is never touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sharkbench.data import loader as loading
from sharkbench.data.arrow import SplitWriter, open_split
from sharkbench.data.loader import batches
from sharkbench.data.mapped import leave
from sharkbench.data.samples import Split

ROWS, SLOTS = 1_000_000, 16


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """64 MB of ids, and 4 MB of labels."""
    path = tmp_path_factory.mktemp("mapped") / "split.arrow"
    writer = SplitWriter(path, ROWS, SLOTS, dense=0, labels=1, group=False)
    numbers = np.arange(ROWS, dtype=np.int32)
    writer.append(ids=np.repeat(numbers[:, None], SLOTS, 1), labels=(numbers % 2).astype(np.float32)[:, None])
    writer.close()
    return open_split(path)


def file_pages() -> int:
    """Bytes of mapped files that this process has resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.mark.parametrize("seed", [None, 0])
def test_a_pass_never_has_half_of_the_file_resident(
    seed: int | None, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BLOCK", 65_536)  # the kernel maps some pages around those that are read
    leave(split.ids, split.labels)
    before, most, total, labels = file_pages(), 0, 0, 0.0
    for batch in batches(split, 4096, seed=seed):
        total += int(batch.ids[:, -1].sum(dtype=torch.int64))
        labels += float(batch.labels.sum())
        most = max(most, file_pages() - before)
    assert total == ROWS * (ROWS - 1) // 2
    assert labels == ROWS / 2
    assert most < split.ids.nbytes / 2


def test_what_is_left_comes_back(split: Split) -> None:
    batch = next(batches(split, 4096))
    leave(split.ids, split.dense, split.labels)
    assert torch.equal(batch.ids[:, 0], torch.arange(4096, dtype=torch.int32))


def test_a_split_in_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BLOCK", 1024)
    numbers = torch.arange(100_000, dtype=torch.int32)[:, None]
    split = Split(numbers, torch.zeros(len(numbers), 0), numbers.float())
    for _ in batches(split, 512):
        pass
    assert torch.equal(split.ids, torch.arange(100_000, dtype=torch.int32)[:, None])
