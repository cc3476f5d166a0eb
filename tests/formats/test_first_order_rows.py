"""Rows without a vector, as a backbone of first-order weights alone has them: integer codes are codes of nothing."""

from __future__ import annotations

import pytest
import torch

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.tiered import Tiered

SCHEMA = Schema(fields=(Field("a", 10),), labels=("y",))


@pytest.mark.parametrize("bits", ["int8", "int4", "int2", "int1"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("first_order", [1, 2])
@pytest.mark.parametrize("coded", [0, 4, 10])
def test_they_serve_and_load(bits: str, symmetric: bool, first_order: int, coded: int) -> None:
    rows, ids = torch.randn(10, first_order), torch.arange(10)[:, None]
    tier = torch.tensor([1] * coded + [0] * (10 - coded))
    codec = RowCodec.model_validate({"dtype": bits, "symmetric": symmetric, "tail": first_order})
    tiered = Tiered.pack(SCHEMA, [0], rows, tier, [RowCodec(), codec])
    assert tiered.nbytes == Tiered.bytes_of([10 - coded, coded], first_order, [RowCodec(), codec])
    for packed in (tiered, IntRows.pack(SCHEMA, [0], rows, codec)):
        restored = packed.restore(SCHEMA, [0], first_order, packed.describe(), packed.state_dict())
        for made in (packed, restored):
            layer = PackedLayer(SCHEMA, first_order, [made])
            assert torch.equal(layer.lookup(ids), layer._plain(ids))
            torch.testing.assert_close(layer.lookup(ids)[:, 0], rows, rtol=1e-3, atol=1e-4)
