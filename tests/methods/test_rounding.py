"""The plain post-training baselines keep each row as near as their bits allow, and first-order weights apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.contract.workbench import Workbench
from sharkbench.tables.kept import rows_of


def trained(backbone: str) -> Workbench:
    bench = tiny_bench(backbone, None)
    model = bench.full_model()
    with torch.no_grad():  # skewed rows, and first-order weights of another size than the vectors
        model.embedding.parts[0].weight[:, 0] += 3
        model.embedding.parts[0].weight[:, bench.dimension :] *= 100
    return replace(bench, start=model)


@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
@pytest.mark.parametrize(("name", "steps", "row_bytes"), [("int8", 255, 6 + 4), ("int4", 15, 3 + 4)])
def test_integers_are_the_nearest_of_the_rows_range(backbone: str, name: str, steps: int, row_bytes: int) -> None:
    bench = trained(backbone)
    assert bench.start is not None
    model = registry.parse(name).compress(bench)
    before, after = rows_of(bench.start.embedding), rows_of(model.embedding)
    vectors, rounded = before[:, : bench.dimension], after[:, : bench.dimension]
    step = (vectors.amax(1) - vectors.amin(1)) / steps
    assert ((rounded - vectors).abs().amax(1) <= 0.5 * step * 1.05 + 3 * 2**-10).all(), "half a step, and fp16's own"
    assert torch.equal(after[:, bench.dimension :], before[:, bench.dimension :].half().float())
    assert model.pack().layer.nbytes == bench.schema.num_rows * (row_bytes + 2 * bench.first_order)


def test_fp16_rounds_every_number_and_halves_the_bytes() -> None:
    bench = trained("deepfm")
    assert bench.start is not None
    model = registry.parse("fp16").compress(bench)
    assert torch.equal(rows_of(model.embedding), rows_of(bench.start.embedding).half().float())
    assert 2 * model.pack().layer.nbytes == bench.fp32_bytes
