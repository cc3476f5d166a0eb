"""The packed layer: formats side by side over the fields of one schema."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import InputError
from sharkbench.formats import kernels
from sharkbench.formats.codec import RowCodec, pack_bits, unpack_bits
from sharkbench.formats.dense import Dense
from sharkbench.formats.generated import Generated
from sharkbench.formats.in_use import kernels_in_use
from sharkbench.formats.index import Digit, Hash
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.layer import PackedLayer
from sharkbench.formats.sparse import Sparse
from sharkbench.formats.tier_index import SPAN, TierIndex, popcount


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_fields_in_any_parts(data: st.DataObject) -> None:
    """Fields spread over fp32 parts in any order, some pruned: the rows of one table, pooled by hand."""
    fields = tuple(
        Field(
            str(i),
            data.draw(st.integers(1, 9)),
            data.draw(st.integers(1, 3)),
            data.draw(st.sampled_from(["sum", "mean"])),
        )
        for i in range(data.draw(st.integers(1, 5)))
    )
    schema, width = Schema(fields, ("y",)), data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    table = torch.from_numpy(rng.normal(size=(schema.num_rows, width)).astype(np.float32))
    order = data.draw(st.permutations(range(len(fields))))
    groups = [data.draw(st.integers(0, 2)) for _ in order]
    parts = []
    for g in (0, 1):  # those of group 2 are pruned
        members = [f for f, group in zip(order, groups, strict=True) if group == g]
        if members:
            rows = torch.cat([table[schema.offsets[f] : schema.offsets[f + 1]] for f in members])
            parts.append(Dense.pack(schema, members, rows))
    layer = PackedLayer(schema, width, parts)
    low, high = schema.offsets[:-1][schema.slot_fields], schema.offsets[1:][schema.slot_fields]
    ids = rng.integers(low, high, (data.draw(st.integers(0, 7)), schema.num_slots))
    empty = (rng.random(ids.shape) < 0.3) & np.array([fields[f].slots > 1 for f in schema.slot_fields])
    ids[empty] = PADDING
    got = layer(torch.from_numpy(ids))
    assert got.shape == (len(ids), len(layer.fields), width)
    for b in range(len(ids)):
        for position, f in enumerate(layer.fields):
            own = [i for i in ids[b, schema.slot_fields == f] if i != PADDING]
            want = table[own].sum(0) / (max(1, len(own)) if fields[f].pooling == "mean" else 1)
            assert torch.allclose(got[b, position], want, atol=1e-6)
    assert layer.nbytes == sum(4 * width * fields[f].cardinality for f in layer.fields)


def test_a_part_without_a_kernel_stands_beside_one_that_has() -> None:
    schema = Schema((Field("a", 9), Field("b", 5), Field("c", 7)), ("y",))
    network = Generated.pack(schema, [0, 2], torch.tensor([3, 4]), [torch.randn(6, 2)], [torch.randn(6)])
    layer = PackedLayer(schema, 6, [network, Dense.pack(schema, [1], torch.randn(5, 6))])
    ids = torch.tensor([[1, 9, 14], [8, 13, 20]])
    assert torch.equal(layer(ids), layer._plain(ids))
    assert torch.equal(layer(ids)[:, [0, 2]], network.lookup(ids[:, [0, 2]]))


def test_everything_pruned() -> None:
    layer = PackedLayer(Schema((Field("a", 3),), ("y",)), 4, [])
    assert layer(torch.zeros(5, 1, dtype=torch.int32)).shape == (5, 0, 4)
    assert layer.nbytes == 0


@pytest.mark.parametrize("ids", [torch.zeros(3, dtype=torch.int64), torch.zeros(2, 3).int(), torch.zeros(2, 2)])
def test_ids_of_the_wrong_shape_or_type(ids: torch.Tensor) -> None:
    schema = Schema((Field("a", 3), Field("b", 3)), ("y",))
    with pytest.raises(InputError, match="int32 or int64"):
        PackedLayer(schema, 4, [Dense.pack(schema, [0, 1], torch.zeros(6, 4))])(ids)


def test_two_formats_may_not_serve_one_field() -> None:
    schema = Schema((Field("a", 3),), ("y",))
    part = Dense.pack(schema, [0], torch.zeros(3, 4))
    with pytest.raises(ValueError, match="two formats"):
        PackedLayer(schema, 4, [part, part])


def test_tables_larger_than_32_bits_of_bytes_are_addressed() -> None:
    """Row numbers times row bytes leave 32 bits long before row numbers do; untouched pages cost nothing."""
    rows = (1 << 31) // 1024 + 3
    schema = Schema((Field("a", rows), Field("b", 2)), ("y",))
    table = torch.zeros(rows + 2, 1032, dtype=torch.uint8)
    table[rows + 1, :1024] = torch.arange(1024).to(torch.uint8)
    table[rows + 1, 1024:] = torch.tensor([1.0, 2.0]).view(torch.uint8)
    layer = PackedLayer(schema, 1024, [IntRows(schema, [0, 1], 1024, RowCodec(dtype="int8", scale="fp32"), table)])
    assert torch.equal(layer(torch.tensor([[5, rows + 1]]))[0, 1], torch.arange(1024).to(torch.uint8).float() + 2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, (1 << 31) - 1),
    st.integers(1, (1 << 31) - 1),
    st.lists(st.integers(0, (1 << 31) - 2), min_size=1, max_size=20),
)
def test_digits_divide_exactly(divisor: int, modulus: int, ids: list[int]) -> None:
    """Kernels divide by multiplying with a reciprocal: exact for every id and divisor of 31 bits."""
    cardinality = max(ids) + 1
    zero, by_divisor, by_modulus, _, m = Digit(divisor=divisor, modulus=modulus).words(cardinality)
    for i in (*ids, 0, cardinality - 1):
        if zero:  # modulus 1, as a hash to the only row
            continue
        quotient = by_divisor * i >> 64 if by_divisor else i
        assert quotient == i // divisor
        assert quotient - ((by_modulus * quotient >> 64) if by_modulus else 0) * m == i // divisor % modulus


def test_hashes_spread_evenly() -> None:
    counts = torch.bincount(Hash.draw(50, torch.Generator().manual_seed(3))(torch.arange(50_000)), minlength=50)
    assert counts.min() > 700
    assert counts.max() < 1300


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(1, 1000), st.integers(0, 99))
def test_ranks_count_the_rows_of_a_tier(tiers: int, rows: int, seed: int) -> None:
    tier = np.random.default_rng(seed).integers(0, tiers, rows)
    index = TierIndex.of(torch.from_numpy(tier), tiers)
    found, rank = index.locate(torch.arange(rows))
    assert found.tolist() == tier.tolist()
    assert rank.tolist() == [int((tier[:i] == t).sum()) for i, t in enumerate(tier)]
    assert index.counts(rows) == np.bincount(tier, minlength=tiers).tolist()
    assert sum(part.nbytes for part in index.arrays) == TierIndex.bytes_of(rows, tiers)


@pytest.mark.parametrize("tier", [0, 1, 2])
def test_ranks_go_on_where_sixteen_bits_end(tier: int) -> None:
    """Spans of 65,536 rows, nearly all of one tier: ranks within one reach to the last of the 16 bits."""
    rows = 2 * SPAN + 200
    tiers = torch.full((rows,), tier)
    tiers[::70_000] = (tier + 1) % 3
    index = TierIndex.of(tiers, 3)
    for t in range(3):
        members = (tiers == t).nonzero().flatten()
        found, rank = index.locate(members)
        assert (found == t).all()
        assert torch.equal(rank, torch.arange(len(members)))


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=9))
def test_popcount(words: list[int]) -> None:
    assert popcount(torch.tensor(words)).tolist() == [(w % 2**64).bit_count() for w in words]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_bits_come_back(bits: int) -> None:
    codes = torch.randint(0, 1 << bits, (5, 13))
    assert pack_bits(codes, bits).shape == (5, -(-13 * bits // 8))
    assert torch.equal(unpack_bits(pack_bits(codes, bits), bits, 13).long(), codes)


def test_skewed_rows_keep_their_values_in_8_bits() -> None:
    """Rows far from zero: codes minus an integer zero point would wrap around, a scale and an offset do not."""
    table = 1000 + torch.rand(20, 16)
    codec = RowCodec(dtype="int8", scale="fp32")
    assert (codec.decode(codec.encode(table), 16) - table).abs().max() < 1 / 255
    constant = torch.full((3, 16), 0.25)
    assert torch.equal(codec.decode(codec.encode(constant), 16), constant)
    assert torch.equal(
        RowCodec(dtype="int4").decode(RowCodec(dtype="int4").encode(torch.zeros(2, 6)), 6), torch.zeros(2, 6)
    )


def test_int8_rows_are_those_of_pytorch() -> None:
    """The layout is that of PyTorch's row-wise operators: they read our tables."""
    schema, table = Schema((Field("a", 31),), ("y",)), torch.randn(31, 16)
    ids, offsets = torch.arange(31), torch.arange(31)
    eight = IntRows.pack(schema, [0], table, RowCodec(dtype="int8", scale="fp32"))
    theirs = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(eight.table, ids, offsets)
    assert torch.allclose(theirs, eight.lookup(ids[:, None])[:, 0], atol=1e-6)
    four = IntRows.pack(schema, [0], table, RowCodec(dtype="int4"))
    theirs = torch.ops.quantized.embedding_bag_4bit_rowwise_offsets(four.table, ids, offsets)
    assert torch.allclose(theirs, four.lookup(ids[:, None])[:, 0], atol=1e-3)


def test_the_smaller_sparse_form_is_taken() -> None:
    schema = Schema((Field("a", 1000),), ("y",))
    for density in (0.001, 0.02, 0.3):
        table = torch.randn(1000, 64) * (torch.rand(1000, 64) < density)
        packed = Sparse.pack(schema, [0], table)
        kept = int((table != 0).sum())
        assert packed.nbytes == Sparse.bytes_of(1000, 64, kept)
        assert packed.nbytes == min(Sparse.bytes_of(1000, 64, kept, "fp32", form) for form in ("csr", "bitmap"))
    assert Sparse.pack(schema, [0], table).form == "bitmap"


def test_kernels_say_what_they_are() -> None:
    said = kernels_in_use()
    assert said["generated"] == "torch"
    assert said["dense"] == ("torch" if kernels.compiled is None else kernels.compiled.in_use())


class Marked(torch.Tensor):
    """A subclass: its memory is read the same way, but not through torch.Tensor's own functions."""


def rows_of_a_table() -> tuple[PackedLayer, torch.Tensor]:
    schema = Schema((Field("a", 300), Field("b", 40)), ("y",))
    table = torch.randn(340, 16, generator=torch.Generator().manual_seed(0))
    ids = torch.stack([torch.arange(200), torch.arange(200) % 40 + 300], 1)
    return PackedLayer(schema, 16, [Dense.pack(schema, [0, 1], table)]), ids


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_are_read_wherever_they_lie(dtype: torch.dtype) -> None:
    layer, ids = rows_of_a_table()
    ids = ids.to(dtype)
    want = layer._plain(ids)
    wide = torch.cat([ids, ids], 1)
    for given_ids, rows in (
        (ids, want),
        (wide[:, 2:], want),
        (ids[::3], want[::3]),
        (ids[5:6], want[5:6]),
        (ids[:0], want[:0]),
        (ids.T.contiguous().T, want),
        (ids[:1].expand(9, 2), want[:1].expand(9, 2, 16)),
        (ids.as_subclass(Marked), want),
    ):
        for _ in range(2):  # the first call plans, the later ones follow the plan
            assert torch.equal(layer(given_ids), rows)
    for wrong in (ids.float(), ids[:, :1], ids[0], ids > 0, ids[None]):
        with pytest.raises(InputError, match="ids are torch"):
            layer(wrong)


def test_outputs_are_tensors_of_their_own() -> None:
    layer, ids = rows_of_a_table()
    layer(ids)
    first, second = layer(ids), layer(ids)
    want = second.clone()
    first.zero_()
    assert torch.equal(second, want)
    assert (first.dtype, first.is_contiguous(), first.requires_grad) == (torch.float32, True, False)
    del layer
    assert torch.equal(second, want)
    weights = torch.ones(16, requires_grad=True)
    (second @ weights).sum().backward()
    assert torch.allclose(weights.grad, want.sum((0, 1)), atol=1e-3)


def test_hooks_of_the_layer_are_called() -> None:
    layer, ids = rows_of_a_table()
    seen: list[str] = []
    want = layer(ids)
    handles = [
        layer.register_forward_pre_hook(lambda *_: seen.append("before")),
        layer.register_forward_hook(lambda *_: seen.append("after")),
    ]
    assert torch.equal(layer(ids), want)
    assert seen == ["before", "after"]
    for handle in handles:
        handle.remove()
    assert torch.equal(layer(ids), want)
    assert seen == ["before", "after"]


def test_memory_in_huge_pages_keeps_its_content() -> None:
    if kernels.compiled is None:
        pytest.skip("the compiled kernels were not built")
    table = torch.arange(3 << 20)
    kernels.compiled.use_huge_pages(table.data_ptr(), table.nbytes)  # whether it may depends on the system
    assert torch.equal(table, torch.arange(3 << 20))
    assert not kernels.compiled.use_huge_pages(table.data_ptr() + 8, 4096), "no whole page in it"


@pytest.mark.skipif(kernels.compiled is None, reason="no compiled kernels")
@pytest.mark.parametrize("size", [20, 64, 68, 256])
def test_the_limit_of_a_gather_reads_all_of_every_row(size: int) -> None:
    """Whatever the threads, every line of every row and its end are read once: their bytes add up."""
    table = torch.randint(0, 256, (500, size), dtype=torch.uint8)
    rows = torch.randint(0, 500, (3001,))
    expected = int(table[rows][:, [*range(0, size, 64), size - 1]].sum())

    assert kernels.compiled is not None
    for threads in (1, 2):
        found = kernels.compiled.touch(table.data_ptr(), size, rows.data_ptr(), len(rows), threads)
        assert found == expected
