"""What a format says a table will take is what the table takes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.generated import Generated
from sharkbench.formats.index import Digit, Hash
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.projected import Projected
from sharkbench.formats.row_groups import RowGroups, schema_of_group
from sharkbench.formats.shared_array import SharedArray
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.formats.sparse import Sparse
from sharkbench.formats.tensor_train import TensorTrain
from sharkbench.formats.tiered import Tiered

Draw = st.DataObject
FLOAT = st.sampled_from(("fp32", "fp16", "bf16"))
SMALL = st.integers(1, 9)


def table_of(data: Draw) -> tuple[Schema, list[int], int, int]:
    """A schema, some of its fields, the rows of those and numbers per row."""
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=4))
    schema = Schema(fields=tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))
    fields = data.draw(st.lists(st.sampled_from(range(len(sizes))), min_size=1, unique=True))
    return schema, fields, sum(sizes[f] for f in fields), data.draw(st.integers(1, 20))


def codec_of(data: Draw, width: int, *, floats: bool = True) -> RowCodec:
    names = ("int8", "int4", "int2", "int1", *(("fp32", "fp16", "bf16") if floats else ()))
    dtype: Any = data.draw(st.sampled_from(names))
    if not dtype.startswith("int"):
        return RowCodec(dtype=dtype)
    scale: Any = data.draw(st.sampled_from(("fp16", "fp32")))
    return RowCodec(
        dtype=dtype, scale=scale, symmetric=data.draw(st.booleans()), tail=data.draw(st.integers(0, width - 1))
    )


def dense(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    dtype = data.draw(FLOAT)
    return Dense.pack(schema, fields, torch.randn(rows, width), dtype), Dense.bytes_of(rows, width, dtype)


def int_rows(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    codec = codec_of(data, width, floats=False)
    return IntRows.pack(schema, fields, torch.randn(rows, width), codec), IntRows.bytes_of(rows, width, codec)


def tiered(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    count = data.draw(st.integers(1, 8))
    dimensions = [data.draw(st.integers(1, width)) for _ in range(count)]
    codecs = [None if data.draw(st.booleans()) else codec_of(data, d) for d in dimensions]
    tier = torch.randint(count, (rows,))
    packed = Tiered.pack(schema, fields, torch.randn(rows, width), tier, codecs, dimensions)
    counts = torch.bincount(tier, minlength=count).tolist()
    return packed, Tiered.bytes_of(counts, width, codecs, dimensions)


def sparse(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    dtype, form = data.draw(FLOAT), data.draw(st.sampled_from(("csr", "bitmap", None)))
    kept = torch.rand(rows, width) < data.draw(st.floats(0, 1))
    packed = Sparse.pack(schema, fields, torch.randn(rows, width), dtype, kept, form)
    return packed, Sparse.bytes_of(rows, width, int(kept.sum()), dtype, form)


def shared_array(data: Draw) -> tuple[Format, int]:
    schema, fields, _, width = table_of(data)
    numbers, dtype = data.draw(st.integers(1, 99)), data.draw(FLOAT)
    packed = SharedArray.pack(schema, fields, width, torch.randn(numbers), 4, 7, dtype=dtype)
    return packed, SharedArray.bytes_of(numbers, dtype)


def generated(data: Draw) -> tuple[Format, int]:
    schema, fields, _, width = table_of(data)
    hashes, hidden = data.draw(SMALL), data.draw(st.lists(SMALL, max_size=3))
    shapes = list(pairwise([hashes, *hidden, width]))
    weights, biases = [torch.randn(b, a) for a, b in shapes], [torch.randn(b) for _, b in shapes]
    packed = Generated.pack(schema, fields, torch.randint(99, (hashes,)), weights, biases)
    return packed, Generated.bytes_of(hashes, hidden, width)


def tensor_train(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, _ = table_of(data)
    columns, ranks = data.draw(st.lists(SMALL, min_size=2, max_size=4)), []
    ranks = [data.draw(SMALL) for _ in columns[1:]]
    factors, dtype = [rows, *[data.draw(SMALL) for _ in columns[1:]]], data.draw(FLOAT)
    shapes = zip(factors, [1, *ranks], columns, [*ranks, 1], strict=True)
    packed = TensorTrain.pack(schema, fields, [torch.randn(*shape) for shape in shapes], dtype)
    return packed, TensorTrain.bytes_of(factors, columns, ranks, dtype)


def composed(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    parts, combine = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(("add", "mult", "concat")))
    codec, shared = RowCodec(dtype=data.draw(FLOAT)), data.draw(st.booleans())
    functions: list[list[Digit | Hash]] = []
    for _ in range(parts):
        one = data.draw(SMALL)
        moduli = [one if shared else data.draw(SMALL) for _ in fields]
        functions.append(
            [
                Hash(multiplier=3, increment=1, modulus=m) if data.draw(st.booleans()) else Digit(modulus=m)
                for m in moduli
            ]
        )
    sizes = [part[0].modulus if shared else sum(f.modulus for f in part) for part in functions]
    hashes = sum(isinstance(f, Hash) for part in functions for f in part)
    chosen = torch.rand(rows) < 0.5 if data.draw(st.booleans()) else None
    whole = width * parts if combine == "concat" else width
    head = None if chosen is None else (chosen, torch.randn(int(chosen.sum()), whole))
    tables = [torch.randn(n, width) for n in sizes]
    packed = Composed.pack(schema, fields, functions, tables, combine, codec, shared, head)
    owned = None if chosen is None else (rows, int(chosen.sum()))
    return packed, Composed.bytes_of(sizes, [width] * parts, combine, codec, hashes=hashes, head=owned)


def projected(data: Draw) -> tuple[Format, int]:
    schema, fields, _, width = table_of(data)
    groups = data.draw(st.integers(1, len(fields)))
    group_of = [*range(groups), *[data.draw(st.integers(0, groups - 1)) for _ in fields[groups:]]]
    counts = [
        sum(schema.fields[f].cardinality for f, g in zip(fields, group_of, strict=True) if g == group)
        for group in range(groups)
    ]
    dimensions = [data.draw(st.integers(1, width)) for _ in range(groups)]
    matrices = [d < width or data.draw(st.booleans()) for d in dimensions]
    biases, codec = [data.draw(st.booleans()) for _ in range(groups)], RowCodec(dtype=data.draw(FLOAT))
    packed = Projected.pack(
        schema,
        fields,
        [torch.randn(n, d) for n, d in zip(counts, dimensions, strict=True)],
        [torch.randn(d, width) if has else None for d, has in zip(dimensions, matrices, strict=True)],
        group_of,
        [torch.randn(width) if has else None for has in biases],
        codec,
        width,
    )
    return packed, Projected.bytes_of(counts, dimensions, width, codec, matrices=matrices, biases=biases)


def codebooks(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    parts, combine = data.draw(st.integers(1, 5)), data.draw(st.sampled_from(("concat", "add")))
    shared, per_field = data.draw(st.booleans()), data.draw(st.booleans())
    codewords, codec = data.draw(st.integers(1, 40)), RowCodec(dtype=data.draw(FLOAT))
    own = len(fields) if per_field else 1
    books = [torch.randn(codewords * own, width) for _ in range(1 if shared else parts)]
    codes, tiers, counts, bits = torch.zeros(rows, parts, dtype=torch.int64), None, [rows], None
    if data.draw(st.booleans()):
        bits = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=8))
        tier = torch.randint(len(bits), (rows,))
        tiers, counts = (tier, bits), torch.bincount(tier, minlength=len(bits)).tolist()
    packed = Codebooks.pack(
        schema, fields, codes, books, combine, shared=shared, per_field=per_field, tiers=tiers, codec=codec
    )
    said = Codebooks.bytes_of(counts, [width] * parts, codewords, bits, shared=shared, fields=own, codec=codec)
    return packed, said


def side_by_side(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    codec = codec_of(data, width, floats=False)
    codes, floats = (
        IntRows.pack(schema, fields, torch.randn(rows, width), codec),
        Dense.pack(schema, fields, torch.randn(rows, 1)),
    )
    said = SideBySide.bytes_of(IntRows.bytes_of(rows, width, codec), Dense.bytes_of(rows, 1))
    return SideBySide.pack([codes, floats]), said


def row_groups(data: Draw) -> tuple[Format, int]:
    schema, fields, rows, width = table_of(data)
    count = data.draw(st.integers(2, 4))
    assume(rows >= count)
    groups = torch.cat([torch.arange(count), torch.randint(count, (rows - count,))])[torch.randperm(rows)]
    by_field = [
        torch.bincount(g, minlength=count) for g in groups.split([schema.fields[f].cardinality for f in fields])
    ]
    parts: list[Format] = []
    for g, counts in enumerate(zip(*by_field, strict=True)):
        own = schema_of_group(schema, fields, [int(n) for n in counts])
        parts.append(Dense.pack(own, range(own.num_fields), torch.randn(int((groups == g).sum()), width)))
    said = RowGroups.bytes_of(rows, *(Dense.bytes_of(int((groups == g).sum()), width) for g in range(count)))
    return RowGroups.pack(schema, fields, groups, parts), said


TABLES = [
    codebooks,
    composed,
    dense,
    generated,
    int_rows,
    projected,
    row_groups,
    shared_array,
    side_by_side,
    sparse,
    tensor_train,
    tiered,
]


@pytest.mark.parametrize("draw", TABLES, ids=lambda draw: draw.__name__)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_bytes_of_is_what_a_table_takes(draw: Any, data: Draw) -> None:
    packed, said = draw(data)
    assert packed.nbytes == said
    assert packed.kind == draw.__name__


def test_every_format_is_tried() -> None:
    from sharkbench.formats.registry import formats

    assert sorted(draw.__name__ for draw in TABLES) == sorted(formats())


def test_bytes_follow_the_rows_where_rows_are_many() -> None:
    """At sizes that no test can build: by hand."""
    assert Dense.bytes_of(10**9, 16) == 64 * 10**9
    assert Sparse.bytes_of(10**9, 16, 10**9, form="csr") == 10**9 * (4 + 1 + 4)
    # Three planes for five tiers, five 16-bit counters a block, five 64-bit ones a span of 65,536 rows.
    blocks, spans = 10**9 // 64, -(-(10**9) // 65536)
    assert Tiered.bytes_of([0, 0, 0, 0, 10**9], 16, [None] * 5) == blocks * (24 + 10) + spans * 40
