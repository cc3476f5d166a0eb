"""Bytes and parameters, live and saved."""

from __future__ import annotations

from pathlib import Path

import torch

from sharkbench.backbones import BackboneShape, build
from sharkbench.backbones.ctr.dnn import DNN
from sharkbench.data.schema import Field, Schema
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.dense import Dense
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.measure.memory import fp32_bytes, memory_of, memory_of_file
from sharkbench.model import artifact
from sharkbench.model.model import PackedModel

SCHEMA = Schema((Field("a", 100), Field("b", 20), Field("gone", 30)), ("y",))


def layer() -> PackedLayer:
    rows = IntRows.pack(SCHEMA, [0], torch.randn(100, 10), RowCodec(dtype="int8"))
    return PackedLayer(SCHEMA, 10, [rows, Dense.pack(SCHEMA, [1], torch.randn(20, 10), "fp16")])


def test_bytes_of_a_live_layer() -> None:
    seen = memory_of(layer())
    assert seen.bytes_by_field == {"a": 100 * (10 + 4), "b": 20 * 10 * 2}
    assert seen.bytes == sum(seen.bytes_by_field.values()) == 1800
    assert seen.fp32_bytes == fp32_bytes(SCHEMA, 10) == 150 * 10 * 4  # the pruned field counts in what there was
    assert seen.bytes_ratio == 0.3
    assert seen.param_ratio == 120 / 150  # fewer bits are as many numbers
    assert seen.formats == ["dense", "int_rows"]


def test_a_file_has_the_bytes_of_the_layer(tmp_path: Path) -> None:
    config = DNN(hidden=(2,))
    model = PackedModel(layer(), build(config, BackboneShape(2, 10, 0, 1)))
    artifact.save(model, tmp_path, fingerprint="f", backbone=config)
    assert memory_of_file(tmp_path) == memory_of(model.layer)
