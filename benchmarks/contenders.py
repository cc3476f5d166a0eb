"""Contenders of the lookup benchmark: every format of this project, and the limits of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sharkbench.data.schema import Field, Schema
from sharkbench.formats import kernels
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.index import quotient, remainder
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.projected import Projected
from sharkbench.formats.shared_array import SharedArray
from sharkbench.formats.sparse import Sparse
from sharkbench.formats.tensor_train import TensorTrain
from sharkbench.formats.tiered import Tiered
from sharkbench.measure.lookup import BATCHES

FIELDS = 26
Call = Callable[[int], object]


def schema_of(rows: int) -> Schema:
    """``FIELDS`` fields of equal size, with ``rows`` rows in total."""
    return Schema(tuple(Field(f"f{i}", rows // FIELDS) for i in range(FIELDS)), ("click",))


def zipf_ranks(size: int, shape: tuple[int, int], rng: np.random.Generator, exponent: float = 1.05) -> np.ndarray:
    """Ranks 0 to ``size - 1`` with probabilities in proportion to ``(rank + 1) ** -exponent``."""
    totals = np.cumsum(np.arange(1, size + 1) ** -exponent)
    return np.searchsorted(totals, rng.random(shape) * totals[-1])


class Scene:
    """The tables and id streams that all contenders share: one seed, one shuffle of ranks over rows."""

    def __init__(self, rows: int, dimension: int, seed: int = 0) -> None:
        self.schema, self.dimension = schema_of(rows), dimension
        self.rng = np.random.default_rng(seed)
        self.field_rows = rows // FIELDS
        self.order = self.rng.permutation(self.field_rows)
        """Row of each rank: frequent rows are scattered, as in real vocabularies."""
        self.table = torch.empty(self.schema.num_rows, dimension).uniform_(-1, 1)

    def batches(self, stream: str, batch: int) -> list[Tensor]:
        """Int32 global ids ``[batch, FIELDS]``, one batch per position in the rotation."""
        made, shape = [], (batch, FIELDS)
        for _ in range(BATCHES):
            ranks = (
                zipf_ranks(self.field_rows, shape, self.rng)
                if stream == "zipf"
                else self.rng.integers(0, self.field_rows, shape)
            )
            made.append(torch.from_numpy((self.order[ranks] + self.schema.offsets[:-1]).astype(np.int32)))
        return made

    def formats(self) -> Iterator[tuple[str, Format]]:
        """Name and packed table, one at a time."""
        schema, fields, table, width = self.schema, list(range(FIELDS)), self.table, self.dimension
        total, n, generator = schema.num_rows, self.field_rows, torch.Generator().manual_seed(1)
        # Separate memory: a layer moves its rows into huge pages, and torch's operators must keep ordinary ones.
        yield "fp32", Dense.pack(schema, fields, table.clone())
        yield "fp16", Dense.pack(schema, fields, table, "fp16")
        yield "int8", IntRows.pack(schema, fields, table, RowCodec(dtype="int8"))
        yield "int8, fp32 scales", IntRows.pack(schema, fields, table, RowCodec(dtype="int8", scale="fp32"))
        yield "int4", IntRows.pack(schema, fields, table, RowCodec(dtype="int4"))
        yield "int2", IntRows.pack(schema, fields, table, RowCodec(dtype="int2"))
        yield "int1", IntRows.pack(schema, fields, table, RowCodec(dtype="int1", symmetric=True))
        # By frequency: the first 10% of ranks in fp32, the next 20% in fp16, the rest in int8.
        tier = torch.empty(n, dtype=torch.int64)
        ranks = torch.arange(n)
        tier[torch.from_numpy(self.order)] = (ranks >= n // 10).long() + (ranks >= 3 * n // 10).long()
        codecs = [RowCodec(), RowCodec(dtype="fp16"), RowCodec(dtype="int8")]
        yield "tiered 10/20/70", Tiered.pack(schema, fields, table, tier.repeat(FIELDS), codecs)
        rest = -(-n // 100)
        tables = [torch.randn(FIELDS * rest, width), torch.randn(FIELDS * 100, width)]
        functions = [[remainder(rest)] * FIELDS, [quotient(rest, n)] * FIELDS]
        yield "hash n/100", Composed.pack(schema, fields, functions[:1], tables[:1])
        yield "QR n/100", Composed.pack(schema, fields, functions, tables, "mult")
        yield "shared array 1%", SharedArray.pack(schema, fields, width, torch.randn(total * width // 100), 16, 7)
        codes = torch.randint(0, 256, (total, 8), generator=generator, dtype=torch.uint8)
        yield (
            "product, 8 codes",
            Codebooks.pack(schema, fields, codes, [torch.randn(256, width // 8) for _ in range(8)]),
        )
        kept = torch.rand(total, width, generator=generator) < 0.1
        for form in ("bitmap", "csr"):
            yield f"sparse 10%, {form}", Sparse.pack(schema, fields, table, kept=kept, form=form)
        yield (
            "low rank 4",
            Projected.pack(schema, fields, [table[:, :4]], [torch.randn(4, width)], group_of=[0] * FIELDS),
        )
        side = int(np.ceil(total ** (1 / 3)))
        columns = (2, 2, 4) if width == 16 else (4, 4, width // 16)
        ranks_of = ((1, 8), (8, 8), (8, 1))
        cores = [torch.randn(side, a, d, b) for d, (a, b) in zip(columns, ranks_of, strict=True)]
        yield "tensor train, rank 8", TensorTrain.pack(schema, fields, cores)


def layers(scene: Scene, packed: dict[str, Format]) -> dict[str, PackedLayer]:
    """Each format in a packed layer, the interface that models use."""
    return {name: PackedLayer(scene.schema, scene.dimension, [part]) for name, part in packed.items()}


def ours(served: dict[str, PackedLayer], batches: list[Tensor]) -> dict[str, Call]:
    """Every format of this project, in the layer and, as ``name (bare)``, the kernel alone with an allocated output.

    The two are not adjacent: the second would find in the cache the rows that the first has read.
    """
    made: dict[str, Call] = {}
    bare: dict[str, Call] = {}
    for name, layer in served.items():
        made[name] = lambda i, layer=layer: layer(batches[i])  # type: ignore[misc]
        layer(batches[0])
        plan = layer._plan
        if plan is None or plan.rest:
            continue
        out = torch.empty(len(batches[0]), plan.kept, plan.width)
        places = [
            (b.data_ptr(), b.itemsize, plan.slots, len(b), out.data_ptr(), plan.kept * plan.width) for b in batches
        ]
        count = torch.get_num_threads()
        bare[f"{name} (bare)"] = partial(_bare, plan, places, out, count)
    return made | bare


def _bare(plan: Any, places: list[tuple[int, ...]], out: Tensor, threads: int, i: int) -> object:
    """One call of the kernel; ``out`` is kept alive here, its address is in ``places``."""
    return plan.compiled.lookup(plan.words, *places[i], threads)


def limits(scene: Scene, table: Tensor, batches: list[Tensor]) -> dict[str, Call]:
    """A STREAM-like read, allocation of the output, writing it, multiplication of cached values, and reading only
    random rows of ``table``."""
    large = table.flatten()[: 1 << 24]
    out = torch.empty(batches[0].numel(), scene.dimension)
    square = torch.rand(384, 384)
    made: dict[str, Call] = {
        "limit: read 64 MiB": lambda i: large.sum(),
        "limit: make the output": lambda i: torch.empty(len(batches[0]), FIELDS, scene.dimension),
        "limit: write the output": lambda i: out.fill_(1),
        "limit: multiply 384 x 384": lambda i: square @ square,
    }
    compiled = kernels.compiled
    if compiled is not None:
        rows = [b.flatten().to(torch.int64) for b in batches]
        address = table.data_ptr()
        for size in (4 * scene.dimension, 2 * scene.dimension, scene.dimension + 4):
            made[f"limit: read rows of {size} B"] = lambda i, size=size: compiled.touch(  # type: ignore[misc]
                address, size, rows[i].data_ptr(), rows[i].numel(), torch.get_num_threads()
            )
    return made
