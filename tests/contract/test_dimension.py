"""A method may choose its dimension: the backbone follows, the bytes count as they are, budgets stay the suite's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sharkbench.contract.check import tiny_bench
from sharkbench.measure.lookup import measure_speed
from sharkbench.measure.memory import memory_of
from sharkbench.measure.spec import MeasureSpec
from sharkbench.model import artifact
from sharkbench.tables.rows import Rows


@pytest.mark.parametrize("dimension", [2, 16])
@pytest.mark.parametrize("backbone", ["deepfm", "dcn"])
def test_a_table_of_another_dimension_is_trained_packed_saved_and_loaded(
    backbone: str, dimension: int, tmp_path: Path
) -> None:
    bench = tiny_bench(backbone, 0.5)
    shape = bench.shape_of(dimension)
    assert (shape.dimension, shape.first_order) == (dimension, bench.first_order)
    with bench.seeded("table"):
        table = bench.table(Rows.initial(bench.schema, bench.fields, shape.width, bench.init_std))
    model = bench.model(table, dimension=dimension)
    bench.train(model)
    packed = model.pack()
    assert packed.layer.nbytes == shape.fp32_bytes
    memory = memory_of(packed.layer, bench.width)
    assert memory.fp32_bytes == bench.fp32_bytes
    assert memory.bytes_ratio == memory.param_ratio == shape.width / bench.width
    assert bench.budget == int(0.5 * bench.fp32_bytes), "a budget is a fraction of the suite's full table"

    artifact.save(packed, tmp_path, fingerprint=bench.dataset.fingerprint, backbone=bench.backbone)
    loaded, valid = artifact.load_model(tmp_path), bench.dataset.splits["valid"]
    assert artifact.tensor_bytes(tmp_path) == shape.fp32_bytes
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(valid.ids, valid.dense), model(valid.ids, valid.dense), rtol=0, atol=1e-6)
    speed = measure_speed(loaded, valid, MeasureSpec(seconds=0.01, batch=64, production_rows=2000))
    assert speed.model_ratio_fp32 > 0, "the fp32 table that it is timed against is of its own width"


def test_rows_of_another_width_than_the_backbone_reads_are_refused() -> None:
    bench = tiny_bench("deepfm", None)
    narrow = bench.table(Rows.initial(bench.schema, bench.fields, bench.shape_of(2).width, 0.1))
    with pytest.raises(ValueError, match="rows of 4 numbers, a backbone of dimension 6 reads 8"):
        bench.model(narrow)
    assert bench.model(narrow, dimension=2).embedding is narrow
