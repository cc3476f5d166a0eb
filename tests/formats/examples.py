"""One small table per format, with a slow obvious way to compute its rows. A new format adds its examples here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from sharkbench.data.schema import Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codebooks import Codebooks
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed import Composed
from sharkbench.formats.dense import Dense
from sharkbench.formats.generated import Generated
from sharkbench.formats.index import Digit, Hash, quotient, remainder
from sharkbench.formats.int_rows import IntRows
from sharkbench.formats.projected import Projected
from sharkbench.formats.row_groups import RowGroups, schema_of_group
from sharkbench.formats.shared_array import SharedArray
from sharkbench.formats.side_by_side import SideBySide
from sharkbench.formats.sparse import Sparse
from sharkbench.formats.tensor_train import TensorTrain
from sharkbench.formats.tiered import Tiered

Reference = Callable[[int, int], np.ndarray]
"""Position of the field in the format's fields, and the local id: the row as it should come out."""
Example = tuple[str, Format, Reference]


def examples(kind: str, schema: Schema, fields: list[int], width: int, seed: int = 0) -> Iterator[Example]:
    """Name, format and reference of every example of ``kind`` over ``fields`` of ``schema``."""
    rng = np.random.default_rng(seed)
    for name, (packed, reference) in _BUILDERS[kind](_Case(schema, fields, width, rng)):
        yield f"{kind}: {name}", packed, reference


class _Case:
    def __init__(self, schema: Schema, fields: list[int], width: int, rng: np.random.Generator) -> None:
        self.schema, self.fields, self.width, self.rng = schema, fields, width, rng
        self.sizes = [schema.fields[f].cardinality for f in fields]
        self.firsts = np.cumsum([0, *self.sizes])
        self.rows = sum(self.sizes)

    def numbers(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(size=shape).astype(np.float32))

    def integers(self, below: int, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.integers(0, below, shape))

    def row_of(self, table: Tensor | np.ndarray) -> Reference:
        values = np.asarray(table, dtype=np.float32)
        return lambda field, local: values[self.firsts[field] + local]


def _dense(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    table = case.numbers(case.rows, case.width)
    for dtype, stored in (("fp32", table), ("fp16", table.half()), ("bf16", table.bfloat16())):
        packed = Dense.pack(case.schema, case.fields, table, dtype)
        yield dtype, (packed, case.row_of(stored.float()))


def decode_row(codec: RowCodec, row: bytes, width: int) -> np.ndarray:
    """A stored integer row by hand, bit by bit."""
    body = width - codec.tail
    string = "".join(format(byte, "08b")[::-1] for byte in row)
    codes = [int(string[k * codec.bits : (k + 1) * codec.bits][::-1], 2) for k in range(body)]
    rest = row[-(-body * codec.bits // 8) :]
    tail = np.frombuffer(rest[: 2 * codec.tail], np.float16).astype(np.float32)
    numbers = np.frombuffer(rest[2 * codec.tail :], np.float16 if codec.scale == "fp16" else np.float32)
    scale = np.float32(numbers[0])
    zero = 0.5 if codec.bits == 1 else 2 ** (codec.bits - 1)
    offset = scale * np.float32(-zero) if codec.symmetric else np.float32(numbers[1])
    return np.concatenate([np.array(codes, np.float32) * scale + offset, tail])


def _int_rows(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    table = case.numbers(case.rows, case.width)
    for bits in (8, 4, 2, 1):
        for scale in ("fp16", "fp32"):
            for symmetric in (False, True):
                tail = min(case.width - 1, int(symmetric))
                codec = RowCodec(dtype=f"int{bits}", scale=scale, symmetric=symmetric, tail=tail)
                packed = IntRows.pack(case.schema, case.fields, table, codec)
                stored = packed.table.numpy()
                rows = np.stack([decode_row(codec, stored[i].tobytes(), case.width) for i in range(case.rows)])
                step = rows[:, : case.width - tail].max(1) - rows[:, : case.width - tail].min(1)
                if not symmetric and bits == 8:
                    assert (np.abs(rows - table.numpy()).max(1) <= step / 255 + 4e-3).all()
                yield f"int{bits} {scale} symmetric={symmetric} tail={tail}", (packed, case.row_of(rows))


def _index(function: Digit | Hash, local: int) -> int:
    if isinstance(function, Hash):
        mixed = (function.multiplier * local + function.increment) % 2**64
        return (mixed >> 32) * function.modulus >> 32
    return local // function.divisor % function.modulus


def _composed(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    generator = torch.Generator().manual_seed(1)
    digits = [remainder(max(1, n // 3)) for n in case.sizes]
    rest = [quotient(max(1, n // 3), n) for n in case.sizes]
    hashes = [Hash.draw(max(1, n // 2), generator) for n in case.sizes]
    every = [Digit(modulus=n) for n in case.sizes]
    half = max(1, case.width // 2)
    settings = [
        ("hash", [digits], [case.width], []),
        ("qr mult", [digits, rest], [case.width] * 2, ["mult"]),
        ("double hash add", [hashes, digits], [case.width] * 2, ["add"]),
        ("memcom with bias", [digits, every, hashes], [case.width, 1, 1], ["mult", "add"]),
    ]
    if case.width > 1:
        settings.append(("qr concat", [digits, rest], [half, case.width - half], ["concat"]))
    for name, functions, widths, operations in settings:
        tables = [case.numbers(sum(f.modulus for f in part), w) for part, w in zip(functions, widths, strict=True)]
        chosen = torch.from_numpy(case.rng.random(case.rows) < 0.2)
        head = (chosen, case.numbers(int(chosen.sum()), case.width)) if name == "double hash add" else None
        packed = Composed.pack(case.schema, case.fields, functions, tables, operations, head=head)

        def reference(
            field: int, local: int, functions=functions, tables=tables, operations=operations, head=head
        ) -> np.ndarray:
            row = case.firsts[field] + local
            if head is not None and head[0][row]:
                return head[1][int(head[0][:row].sum())].numpy()
            parts = []
            for part, table in zip(functions, tables, strict=True):
                first = sum(f.modulus for f in part[:field])
                parts.append(table[first + _index(part[field], local)].numpy())
            total = parts[0]
            for operation, part in zip(operations, parts[1:], strict=True):
                if operation == "concat":
                    total = np.concatenate([total, part])
                else:
                    total = total + part if operation == "add" else total * part
            return total

        yield name, (packed, reference)
    table = case.numbers(5, case.width)
    shared = [[Hash.draw(5, generator) for _ in case.sizes]]
    codec = RowCodec(dtype="int8")
    packed = Composed.pack(case.schema, case.fields, shared, [table], codec=codec, shared=True)
    rows = np.stack([decode_row(codec, r.numpy().tobytes(), case.width) for r in codec.encode(table)])
    yield "one shared table of int8 rows", (packed, lambda field, local: rows[_index(shared[0][field], local)])


def _tiered(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    table = case.numbers(case.rows, case.width)
    codecs = [RowCodec(), RowCodec(dtype="fp16"), RowCodec(dtype="int8"), None, RowCodec(dtype="bf16")]
    for count in (1, 2, 4, 5):
        for short in (False, True):
            tier = case.integers(count, case.rows)
            kept = [max(1, case.width // (1 + t * short)) for t in range(count)]
            packed = Tiered.pack(case.schema, case.fields, table, tier, codecs[:count], kept)
            rows = np.zeros((case.rows, case.width), np.float32)
            for i, t in enumerate(tier.tolist()):
                codec, part = codecs[t], table[i : i + 1, : kept[t]]
                if codec is not None:
                    rows[i, : kept[t]] = codec.decode(codec.encode(part), kept[t])[0]
            yield f"{count} tiers, short={short}", (packed, case.row_of(rows))


def _sparse(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    for form in ("csr", "bitmap"):
        for density in (0.0, 0.2, 1.0):
            table = case.numbers(case.rows, case.width)
            table[torch.from_numpy(case.rng.random((case.rows, case.width)) >= density)] = 0
            for dtype, stored in (("fp32", table), ("fp16", table.half())):
                packed = Sparse.pack(case.schema, case.fields, table, dtype, form=form)
                yield f"{form} {density} {dtype}", (packed, case.row_of(stored.float()))


def _mixed(key: int, seed: int) -> int:
    x = (key ^ seed) % 2**64
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ x >> 33) * multiplier % 2**64
    return x ^ x >> 33


def _shared_array(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    for block, signed in ((1, False), (4, True), (case.width, False), (case.width + 3, True)):
        array, seed = case.numbers(41), 987654321
        packed = SharedArray.pack(case.schema, case.fields, case.width, array, block, seed, signed)

        def reference(field: int, local: int, block=block, signed=signed, array=array) -> np.ndarray:
            row = int(case.schema.offsets[case.fields[field]]) + local
            chunks = -(-case.width // block)
            numbers = []
            for k in range(case.width):
                hashed = _mixed(row * chunks + k // block, 987654321)
                value = array[(((hashed >> 32) * 41 >> 32) + k % block) % 41]
                numbers.append(-value if signed and hashed & 1 else value)
            return np.array(numbers, np.float32)

        yield f"block {block} signed={signed}", (packed, reference)


def _codebooks(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    parts = min(3, case.width)
    widths = [len(part) for part in np.array_split(np.arange(case.width), parts)]
    for combine in ("concat", "add"):
        for per_field in (False, True):
            for codewords in (7, 300):
                rows = codewords * (len(case.sizes) if per_field else 1)
                books = [case.numbers(rows, w if combine == "concat" else case.width) for w in widths]
                codes = case.integers(codewords, case.rows, parts)
                packed = Codebooks.pack(case.schema, case.fields, codes, books, combine, per_field=per_field)
                yield (
                    f"{combine} per_field={per_field} {codewords}",
                    (packed, _codeword_rows(case, codes, books, combine, codewords * per_field)),
                )
    tier = case.integers(3, case.rows)
    codes = case.integers(256, case.rows, parts) % torch.tensor([256, 8, 2])[tier].unsqueeze(1)
    books = [case.numbers(256, w) for w in widths]
    packed = Codebooks.pack(case.schema, case.fields, codes, books, tiers=(tier, (8, 3, 1)))
    yield "limits per tier", (packed, _codeword_rows(case, codes, books, "concat", 0))
    values, codes = case.numbers(16, 1), case.integers(16, case.rows, case.width)
    packed = Codebooks.pack(case.schema, case.fields, codes, [values], shared=True)
    yield "value codebook", (packed, _codeword_rows(case, codes, [values] * case.width, "concat", 0))


def _codeword_rows(case: _Case, codes: Tensor, books: list[Tensor], combine: str, stride: int) -> Reference:
    def reference(field: int, local: int) -> np.ndarray:
        own = codes[case.firsts[field] + local].tolist()
        words = [book[field * stride + code].numpy() for book, code in zip(books, own, strict=True)]
        if combine == "concat":
            return np.concatenate(words)
        total = words[0]
        for word in words[1:]:
            total = total + word
        return total

    return reference


def _projected(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    dimensions = [min(case.width, 1 + 2 * i) for i in range(len(case.sizes))]
    rows = [case.numbers(n, d) for n, d in zip(case.sizes, dimensions, strict=True)]
    matrices = [case.numbers(d, case.width) for d in dimensions]
    biases = [None, *[case.numbers(case.width) for _ in dimensions[1:]]]
    packed = Projected.pack(case.schema, case.fields, rows, matrices, biases=biases)

    def mixed(field: int, local: int) -> np.ndarray:
        total = rows[field][local].double().numpy() @ matrices[field].double().numpy()
        return total + (0 if biases[field] is None else biases[field].double().numpy())

    yield "a dimension per field", (packed, mixed)
    short, matrix = case.numbers(case.rows, 2), case.numbers(2, case.width)
    packed = Projected.pack(case.schema, case.fields, [short], [matrix], group_of=[0] * len(case.sizes))
    yield "low rank", (packed, case.row_of(short.double().numpy() @ matrix.double().numpy()))


def _tensor_train(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    factor = next(d for d in (4, 3, 2, 1) if case.width % d == 0)
    columns, side = (factor, case.width // factor, 1), int(np.ceil(case.rows ** (1 / 3)))
    for rank in (1, 3, 8):
        cores = [
            case.numbers(side, before, d, after)
            for before, d, after in zip((1, rank, rank), columns, (rank, rank, 1), strict=True)
        ]
        first, last = cores[0][:, 0], cores[2][..., 0]
        full = np.einsum(
            "aip,bpjq,cqk->abcijk", first.double().numpy(), cores[1].double().numpy(), last.double().numpy()
        )
        rows = full.reshape(-1, case.width)
        yield f"rank {rank}", (TensorTrain.pack(case.schema, case.fields, cores), case.row_of(rows))


def _generated(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    seeds = case.integers(1 << 62, 12)
    weights = [case.numbers(6, 12), case.numbers(case.width, 6)]
    biases = [case.numbers(6), case.numbers(case.width)]

    def reference(encode: Callable[[np.ndarray], np.ndarray]) -> Reference:
        def row_of(field: int, local: int) -> np.ndarray:
            row = int(case.schema.offsets[case.fields[field]]) + local
            hashed = [_mixed(row, seed) for seed in seeds.tolist()]
            x = encode(np.array([((h >> 40) - (1 << 24) * (h >> 63)) / 2**23 for h in hashed]))
            hidden = np.maximum(weights[0].double().numpy() @ x + biases[0].double().numpy(), 0)
            return weights[1].double().numpy() @ hidden + biases[1].double().numpy()

        return row_of

    def normal(x: np.ndarray) -> np.ndarray:
        radius, angle = np.sqrt(-2 * np.log(1 - (x[:6] + 1) / 2)), np.pi * (x[6:] + 1)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])

    packed = Generated.pack(case.schema, case.fields, seeds, weights, biases, "relu")
    yield "two layers", (packed, reference(lambda x: x))
    packed = Generated.pack(case.schema, case.fields, seeds, weights, biases, "relu", "gaussian")
    yield "normal hashes", (packed, reference(normal))


def _side_by_side(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    left, right = case.numbers(case.rows, case.width - 1), case.numbers(case.rows, 1)
    if case.width > 1:
        dense = Dense.pack(case.schema, case.fields, left, "fp16")
        packed = SideBySide.pack([dense, Dense.pack(case.schema, case.fields, right)])
        yield "fp16 and fp32", (packed, case.row_of(torch.cat([left.half().float(), right], 1)))


def _row_groups(case: _Case) -> Iterator[tuple[str, tuple[Format, Reference]]]:
    if case.rows < 3:
        return
    for count in (2, 3):
        # Each group has a row; a field may lie in one group altogether.
        groups = torch.cat([torch.arange(count), case.integers(count, case.rows - count)]).sort().values
        groups = groups[torch.from_numpy(case.rng.permutation(case.rows))] if count == 2 else groups
        table = case.numbers(case.rows, case.width)
        by_field = [torch.bincount(own, minlength=count).tolist() for own in groups.split(case.sizes)]
        schemas = [schema_of_group(case.schema, case.fields, own) for own in zip(*by_field, strict=True)]
        fields = [list(range(own.num_fields)) for own in schemas]
        parts: list[Format] = [
            Dense.pack(own, mine, table[groups == g], "fp16" if g else "fp32")
            for g, (own, mine) in enumerate(zip(schemas[:2], fields[:2], strict=True))
        ]
        stored = torch.where((groups > 0)[:, None], table.half().float(), table)
        if count == 3:
            codec = RowCodec(dtype="int8", scale="fp32")
            parts.append(IntRows.pack(schemas[2], fields[2], table[groups == 2], codec))
            stored[groups == 2] = codec.decode(codec.encode(table[groups == 2]), case.width)
        yield f"{count} groups", (RowGroups.pack(case.schema, case.fields, groups, parts), case.row_of(stored))


_BUILDERS: dict[str, Callable[[_Case], Iterator[tuple[str, tuple[Format, Reference]]]]] = {
    "codebooks": _codebooks,
    "composed": _composed,
    "dense": _dense,
    "generated": _generated,
    "int_rows": _int_rows,
    "projected": _projected,
    "row_groups": _row_groups,
    "shared_array": _shared_array,
    "side_by_side": _side_by_side,
    "sparse": _sparse,
    "tensor_train": _tensor_train,
    "tiered": _tiered,
}
