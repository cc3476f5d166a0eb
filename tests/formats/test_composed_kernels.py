"""The kernels of composed rows give the very bits of the plain lookup, whatever the parts, signs of zero included."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from sharkbench.data.schema import Field, Schema
from sharkbench.formats import kernels
from sharkbench.formats.composed import Composed
from sharkbench.formats.composed_parts import Operation
from sharkbench.formats.index import Digit, Hash, identity, remainder
from sharkbench.formats.layer import PackedLayer

SIZES = (700, 3, 64, 1, 129)
SCHEMA = Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(SIZES)), ("click",))


def numbers(rows: int, width: int, random: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(rows, width, generator=random)
    return drawn.masked_fill(torch.rand(rows, width, generator=random) < 0.2, -0.0)


def function(j: int, width: int, rows: int, random: torch.Generator) -> Digit | Hash:
    if width == 1 and j:
        return identity(rows)
    return Hash.draw(max(1, rows // 4), random) if j else remainder(max(1, rows // 3))


@pytest.mark.parametrize("width", [1, 3, 16, 18, 33, 64])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("operation", ["add", "mult"])
def test_every_shape_of_parts_gives_the_same_bits(width: int, head: bool, operation: Operation) -> None:
    if kernels.compiled is None:
        pytest.skip("the compiled kernels were not built")
    random = torch.Generator().manual_seed(width)
    best = kernels.compiled.in_use()
    ids = torch.stack([torch.randint(0, n, (300,), generator=random) for n in SIZES], 1)
    ids += torch.from_numpy(SCHEMA.offsets[:-1])
    chosen = torch.rand(sum(SIZES), generator=random) < 0.4
    for narrower in ([], [width], [1], [1, 1], [width, width], [width, 1]):
        widths = [width, *narrower]
        functions = [[function(j, w, n, random) for n in SIZES] for j, w in enumerate(widths)]
        tables = [numbers(sum(f.modulus for f in part), w, random) for part, w in zip(functions, widths, strict=True)]
        own = (chosen, numbers(int(chosen.sum()), width, random)) if head else None
        packed = Composed.pack(SCHEMA, range(len(SIZES)), functions, tables, operation, head=own)
        layer = PackedLayer(SCHEMA, width, [packed])
        plain = packed.lookup(ids)
        try:
            for kernel, kind in product(kernels.compiled.available(), (torch.int32, torch.int64)):
                kernels.compiled.choose(kernel)
                assert torch.equal(layer(ids.to(kind)).view(torch.int32), plain.view(torch.int32)), (kernel, widths)
        finally:
            kernels.compiled.choose(best)
