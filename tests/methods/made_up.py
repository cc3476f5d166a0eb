"""Tables of known shape for tests of methods: benches whose trained model is made up, and schemas without data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sharkbench.contract.check import tiny_bench
from sharkbench.contract.workbench import Workbench
from sharkbench.data.schema import Field, Schema

SIZES = (24000, 6000, 5500, 1400, 440, 130, 50, 12, 3)
"""Fields of a middling data set, one of them half of all rows."""


def schema_of(sizes: tuple[int, ...] = SIZES) -> Schema:
    """Fields of so many rows, read as often as a power law says."""
    counts = np.concatenate([1 + 10_000 // np.arange(1, n + 1) for n in sizes]).astype(np.int64)
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",), frequencies=counts)


def made_up(backbone: str, budget: float | None = None) -> Workbench:
    """A bench that starts from a model whose fields differ in scale and whose first-order weights are large."""
    bench = tiny_bench(backbone, budget)
    model = bench.model(bench.full_table())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight = model.embedding.parts[0].weight
        rows = torch.randn(weight.shape, generator=generator)
        rows *= torch.repeat_interleave(torch.tensor([0.05, 0.2, 1.0, 3.0]), torch.tensor(_cardinalities(bench)))[
            :, None
        ]
        rows[:, bench.dimension :] += 2
        weight.copy_(rows)
    return replace(bench, start=model)


def _cardinalities(bench: Workbench) -> list[int]:
    return [field.cardinality for field in bench.schema.fields]
