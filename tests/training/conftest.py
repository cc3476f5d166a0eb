"""A small data set in memory: three fields, one of them multi-valued, a dense input, two labels that can be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Split
from sharkbench.data.schema import PADDING, Field, Schema

CARDINALITIES = (60, 30, 8)
SLOTS = (1, 1, 2)


@pytest.fixture(scope="session")
def dataset() -> PreparedDataset:
    rng = np.random.default_rng(0)
    fields = tuple(Field(f"f{i}", n, slots=s) for i, (n, s) in enumerate(zip(CARDINALITIES, SLOTS, strict=True)))
    schema = Schema(fields, ("click", "like"), ("price",))
    effects = rng.normal(size=schema.num_rows)

    def split(rows: int) -> Split:
        columns = [schema.offsets[f] + rng.integers(CARDINALITIES[f], size=rows) for f in schema.slot_fields]
        ids = np.stack(columns, 1)
        ids[rng.random(rows) < 0.3, 3] = PADDING
        price = rng.normal(size=(rows, 1))
        logit = effects[ids[:, :3]].sum(1) + price[:, 0]
        p = 1 / (1 + np.exp(-np.stack([logit, logit - 1], 1)))
        return Split(
            ids=torch.from_numpy(ids).int(),
            dense=torch.from_numpy(price).float(),
            labels=torch.from_numpy(rng.random((rows, 2)) < p).float(),
            group=torch.from_numpy(rng.integers(20, size=rows)).int(),
        )

    splits = {"train": split(2001), "valid": split(500), "test": split(500)}
    return PreparedDataset("small", Path(), "0", schema, {}, splits)
