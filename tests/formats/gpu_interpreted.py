"""Run by test_gpu.py with ``TRITON_INTERPRET=1``: the kernels on CPU tensors, every access watched.

    python -m tests.formats.gpu_interpreted dense

A GPU faults on a word that straddles its own size, and reads beyond a table without a word; the interpreter does
neither, so both are checked here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.formats import gpu
from sharkbench.formats.base import Format
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.composed_parts import Operation, composed_width
from sharkbench.formats.dense import Dense
from sharkbench.formats.generated import Generated
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.index import Digit, Hash, identity, quotient, remainder
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.tier_index import MAX_TIERS
from sharkbench.formats.tiered import Tiered
from tests.formats.examples import examples
from tests.formats.test_contract import FIELDS, SCHEMA, all_examples, random_ids


def extent(tensor: Tensor) -> tuple[int, int]:
    """First byte and the one after the last."""
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.itemsize


@contextmanager
def watched() -> Iterator[list[int]]:
    """Within, every access of a kernel has to lie in its tensors and be a multiple of its own size; counts them."""
    allowed: list[tuple[int, int]] = []
    accesses = [0]
    load, store, run = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store, gpu.run

    def check(pointers: object, mask: object) -> None:
        element = pointers.get_element_ty()  # type: ignore[attr-defined]
        size = element.primitive_bitwidth // 8
        at = pointers.data[mask.data].astype(np.int64)  # type: ignore[attr-defined]
        accesses[0] += at.size
        inside = np.zeros(at.shape, dtype=bool)
        for first, end in allowed:
            inside |= (at >= first) & (at + size <= end)
        assert inside.all(), "a kernel reads or writes outside its tensors"
        assert (at % size == 0).all(), f"a kernel reads {size} bytes where no such word begins"

    def checked_load(self: object, pointers: object, mask: object, *rest: object) -> object:
        check(pointers, mask)
        return load(self, pointers, mask, *rest)

    def checked_store(self: object, pointers: object, value: object, mask: object, *rest: object) -> object:
        check(pointers, mask)
        return store(self, pointers, value, mask, *rest)

    def watched_run(launch: Launch) -> None:
        given = [v for value in launch.arguments.values() for v in (value if isinstance(value, tuple) else [value])]
        allowed[:] = [extent(t) for t in given if isinstance(t, Tensor) and t.numel()]
        run(launch)

    InterpreterBuilder.create_masked_load = checked_load
    InterpreterBuilder.create_masked_store = checked_store
    gpu.run = watched_run
    try:
        yield accesses
    finally:
        InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store = load, store
        gpu.run = run


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.view(torch.int32), b.view(torch.int32))


def compare(name: str, packed: Format, batches: list[Tensor]) -> None:
    schema = packed.schema
    layer = PackedLayer(schema, packed.width, [packed])
    for ids in batches:
        with watched() as accesses:
            got = layer._on_gpu(ids)
        assert same_bits(got, layer._plain(ids)), f"{name}, width {packed.width}, {ids.dtype} {list(ids.shape)}"
        assert (accesses[0] > 0) == (ids.numel() > 0), f"{name}: the kernel did not run"


def kind_of_format(kind: str) -> None:
    """Examples of every width; ids of both types, none, one, more than a block, strided, with empty slots."""
    for number, (name, packed, _) in enumerate(all_examples(kind)):
        ids = random_ids(30, (torch.int32, torch.int64)[number % 2])
        ids[::4, 2:5] = PADDING
        compare(name, packed, [ids])
    *_, (name, packed, _) = examples(kind, SCHEMA, FIELDS, 16)
    for dtype in (torch.int32, torch.int64):
        ids = random_ids(90, dtype)
        compare(name, packed, [ids, ids[:1], ids[:0], torch.stack([ids, ids], 2)[..., 1]])
    for name, packed, _ in islice(examples(kind, SCHEMA, FIELDS, 300), 4):  # more columns than one program makes
        compare(name, packed, [random_ids(3)])


def tails() -> None:
    """First-order weights beside the codes: one, several, at odd addresses and even ones."""
    schema = Schema((Field("a", 40), Field("b", 9)), ("y",))
    ids = torch.stack([torch.arange(40), torch.arange(40) % 9 + 40], 1)
    for width in (3, 5, 18):
        for bits in (8, 4, 2, 1):
            for tail in (1, 3):
                for scale in ("fp16", "fp32"):
                    codec = RowCodec(dtype=f"int{bits}", scale=scale, tail=tail, symmetric=bits == 2)
                    compare(str(codec), IntRows.pack(schema, [0, 1], torch.randn(49, width), codec), [ids])


def tiers() -> None:
    """As many tiers as there may be, most of them integers, in blocks that end anywhere."""
    schema = Schema((Field("a", 200), Field("b", 9)), ("y",))
    ids = torch.stack([torch.arange(200), torch.arange(200) % 9 + 200], 1)
    codecs = [RowCodec(dtype=d, tail=tail) for d, tail in zip(
        ("int8", "int4", "int2", "int1", "fp16", "int8", "fp32"), (0, 1, 0, 3, 0, 1, 0), strict=True)]  # fmt: skip
    tier = torch.randint(0, MAX_TIERS, (209,), generator=torch.Generator().manual_seed(0))
    for scale in ("fp16", "fp32"):
        own = [c.model_copy(update={"scale": scale}) for c in codecs]
        compare(scale, Tiered.pack(schema, [0, 1], torch.randn(209, 21), tier, [*own, None]), [ids])


def compositions() -> None:
    """One to five parts of every codec, digits beside hashes, with and without a head; signs of zero included."""
    schema = Schema((Field("a", 120), Field("b", 9)), ("y",))
    ids = torch.stack([torch.arange(120), torch.arange(120) % 9 + 120], 1)
    random = torch.Generator().manual_seed(3)
    chosen = torch.rand(129, generator=random) < 0.4
    mixed = [[Hash.draw(20, random), remainder(5)], [quotient(7, 120), Hash.draw(3, random)]]
    every = [*mixed, [identity(120), identity(9)], [Hash.draw(11, random)] * 2, [Digit(divisor=3, modulus=2)] * 2]
    layouts: list[tuple[list[int], list[Operation]]] = [
        ([16], []),
        ([16, 16], ["mult"]),
        ([18, 1, 1], ["mult", "add"]),
        ([8, 16, 24, 1], ["concat", "add", "mult"]),
        ([16, 16, 16, 16, 16], ["add"] * 4),
        ([8, 16], ["concat"]),
        ([5, 3], ["concat"]),
        ([1, 7], ["concat"]),
    ]
    for number, (widths, operations) in enumerate(layouts):
        for dtype in ("fp32", "bf16", "int8", "int4"):
            codec = RowCodec(dtype=dtype)
            functions = every[: len(widths)]
            tables = [torch.randn(sum(f.modulus for f in part), w) for part, w in zip(functions, widths, strict=True)]
            for table in tables:
                table[torch.rand(table.shape) < 0.2] = -0.0
            width = composed_width(widths, operations)
            head = (chosen, torch.randn(int(chosen.sum()), width)) if number % 2 else None
            packed = Composed.pack(schema, [0, 1], functions, tables, operations, codec=codec, head=head)
            declined = dtype == "int4" and (1 in widths or 5 in widths)
            out = torch.empty(120, 2, width)
            assert (packed.launches(ids, torch.arange(2), out) is None) == declined, (widths, dtype)
            if not declined:
                compare(f"{widths} {operations} {dtype}", packed, [ids])


def large_tables() -> None:
    """Row numbers times row bytes leave 32 bits long before row numbers do; untouched pages cost nothing."""
    rows = (1 << 31) // 1024 + 3
    schema = Schema((Field("a", rows), Field("b", 2)), ("y",))
    table = torch.zeros(rows + 2, 1032, dtype=torch.uint8)
    table[rows + 1, :1024] = torch.arange(1024).to(torch.uint8)
    table[rows + 1, 1024:] = torch.tensor([1.0, 2.0]).view(torch.uint8)
    packed = IntRows(schema, [0, 1], 1024, RowCodec(dtype="int8", scale="fp32"), table)
    compare("large", packed, [torch.tensor([[5, rows + 1]]), torch.tensor([[rows - 1, rows + 1]], dtype=torch.int32)])


def several_parts() -> None:
    """A part without a kernel stands beside one that has; ids out of range are dealt with before."""
    schema = Schema((Field("a", 9), Field("b", 5), Field("c", 7)), ("y",))
    network = Generated.pack(schema, [0, 2], torch.tensor([3, 4]), [torch.randn(6, 2)], [torch.randn(6)])
    parts = [network, Dense.pack(schema, [1], torch.randn(5, 6), "fp16")]
    layer = PackedLayer(schema, 6, parts, unknown="unseen")
    ids = torch.tensor([[1, 9, 14], [8, 13, 20], [1 << 40, -7, 3]])
    with watched():
        assert same_bits(layer._on_gpu(ids), layer._plain(ids))


def misaligned_rows() -> None:
    """A table that begins at any byte, as a view into a larger buffer may."""
    schema, codec = Schema((Field("a", 30),), ("y",)), RowCodec(dtype="int4", scale="fp32")
    stored = codec.encode(torch.randn(30, 24))
    for skip in (1, 2, 4, 8):
        table = torch.zeros(skip + stored.numel(), dtype=torch.uint8)[skip:].view_as(stored)
        table.copy_(stored)
        compare(f"at {skip}", IntRows(schema, [0], 24, codec, table), [torch.arange(30)[:, None]])


CASES: dict[str, Callable[[], None]] = {
    case.__name__: case for case in (tails, tiers, compositions, large_tables, several_parts, misaligned_rows)
}

if __name__ == "__main__":
    for case in sys.argv[1:]:
        CASES[case]() if case in CASES else kind_of_format(case)
