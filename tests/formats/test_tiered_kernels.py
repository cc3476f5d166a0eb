"""The kernels find tiered rows where the index counts over spans, and its 16 bits reach their end."""

from __future__ import annotations

import pytest
import torch

from sharkbench.data.schema import Field, Schema
from sharkbench.formats import kernels
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.tier_index import SPAN
from sharkbench.formats.tiered import Tiered

ROWS = 2 * SPAN + 200
SCHEMA = Schema((Field("f", ROWS),), ("click",))


@pytest.mark.parametrize("tiers", [1, 2, 3, 5, 8])
def test_kernels_find_every_row_of_several_spans(tiers: int) -> None:
    if kernels.compiled is None:
        pytest.skip("the compiled kernels were not built")
    best = kernels.compiled.in_use()
    # Two columns tell rows apart in fp32; nearly all rows are of the last tier, so that its ranks take all 16 bits.
    table = torch.stack([torch.arange(ROWS) // 256, torch.arange(ROWS) % 256], 1).float()
    tier = torch.full((ROWS,), tiers - 1)
    tier[::97] = torch.arange(len(tier[::97])) % tiers
    layer = PackedLayer(SCHEMA, 2, [Tiered.pack(SCHEMA, [0], table, tier, [RowCodec()] * tiers)])
    try:
        for kernel in kernels.compiled.available():
            kernels.compiled.choose(kernel)
            assert torch.equal(layer.lookup(torch.arange(ROWS)[:, None])[:, 0], table), kernel
    finally:
        kernels.compiled.choose(best)
