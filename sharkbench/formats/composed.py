"""Small tables read at several hashes of the id, and combined: the hashing trick, QR and their relatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sharkbench.data.schema import Schema
from sharkbench.formats.base import SHARED, Example, Format, replicated
from sharkbench.formats.codec import RowCodec
from sharkbench.formats.composed_parts import ComposedSettings, DigitPart, Operation, composed_width, fits, hashed
from sharkbench.formats.gpu import composition
from sharkbench.formats.gpu.launch import Launch
from sharkbench.formats.index import MAX_ROWS, Digit, Hash
from sharkbench.formats.kernels import COMPOSED, Columns, Program
from sharkbench.formats.restoring import only, read_settings, require, take, take_exact
from sharkbench.formats.tier_index import TierIndex

OPERATIONS: dict[str, int] = {"add": 0, "mult": 1, "concat": 2}
Functions = Sequence[Sequence[Digit | Hash]]


class Composed(Format):
    """``e_i = T_0[h_0(i)] op_1 T_1[h_1(i)] op_2 ...``, small tables ``T_j``, index functions ``h_j`` of the local id.

    ``op`` is add, mult or concat, from left to right; a table of one column is broadcast by add and mult. Every field
    has index functions of its own; the rows of all fields lie in one buffer per part, so one call serves all columns.
    With a *head*, chosen ids have a row of their own in it, and all other rows are composed.

    ========= =========================================================
    hash      one part, ``i % m``
    QR        two parts, ``i % m`` and ``i // m``; add, mult or concat
    MEmCom    two parts, ``i % m`` of full width and ``i`` of one column; mult
    BCH       one part per ``t`` bits of the id; add
    FDH       head for the frequent ids, two hashes for the rest; add
    ========= =========================================================

    Shapes: ``table{j}`` ``[rows of part j, ...]`` as ``codec`` stores rows of the part's width; ``head`` ``[H, ...]``;
    ``hashes`` ``[number of hash functions, 2]`` int64, multiplier and increment.
    """

    kind = "composed"

    def __init__(
        self,
        schema: Schema,
        fields: Sequence[int],
        functions: Functions,
        tables: Sequence[Tensor],
        widths: Sequence[int],
        operations: Sequence[Operation],
        codec: RowCodec,
        shared: Sequence[bool],
        head: Tensor | None = None,
        chosen: TierIndex | None = None,
    ) -> None:
        super().__init__(schema, fields, composed_width(widths, operations))
        self.functions = [list(part) for part in functions]
        self.widths, self.operations = tuple(widths), tuple(operations)
        self.codec, self.shared = codec, tuple(shared)
        for j, table in enumerate(tables):
            self.register_buffer(f"table{j}", table)
        drawn = [[f.multiplier, f.increment] for part in self.functions for f in part if isinstance(f, Hash)]
        if drawn:
            self.register_buffer("hashes", torch.tensor(drawn, dtype=torch.int64))
        self.register_buffer("head", head)
        self.head: Tensor | None
        self.chosen: nn.Module | None = chosen
        self.register_buffer("bases", torch.tensor(self._bases()), persistent=False)
        self.bases: Tensor
        self.register_buffer("firsts", torch.from_numpy(self.first_rows[self.column_fields]), persistent=False)
        self.firsts: Tensor
        words = [[f.gpu_words for f in part] for part in self.functions]
        by_part = torch.tensor(words, dtype=torch.int64).view(len(widths), len(self.fields), 3)
        with_base = torch.cat([by_part, self.bases.unsqueeze(-1)], -1)
        self.register_buffer("function_words", with_base[:, self.column_fields].contiguous(), persistent=False)
        self.function_words: Tensor

    def _bases(self) -> list[list[int]]:
        """``[parts][fields]``: first row of each field in the part's table."""
        sizes = [
            [0 if shared else f.modulus for f in part] for part, shared in zip(self.functions, self.shared, strict=True)
        ]
        return [[sum(part[:f]) for f in range(len(part))] for part in sizes]

    @classmethod
    def pack(
        cls,
        schema: Schema,
        fields: Sequence[int],
        functions: Functions,
        tables: Sequence[Tensor],
        combine: Operation | Sequence[Operation] = "add",
        codec: RowCodec | None = None,
        shared: bool | Sequence[bool] = False,
        head: tuple[Tensor, Tensor] | None = None,
    ) -> Self:
        """Pack trained small tables.

        Args:
            functions: ``[parts][fields]``.
            tables: one per part, ``[rows, width]`` floats: the ``modulus`` rows of each field, one after the other.
                A part that is ``shared`` has one table of ``modulus`` rows for all fields.
            combine: one operation for all parts, or one per part after the first.
            codec: how rows of the small tables are stored; fp32 where not given.
            head: ``(chosen, rows)``: ``[R]`` bool over the rows of ``fields``, and the rows ``[H, width]`` of those.
        """
        codec = codec or RowCodec()
        operations = [combine] * (len(tables) - 1) if isinstance(combine, str) else list(combine)
        return cls(
            schema,
            fields,
            functions,
            [codec.encode(t) for t in tables],
            [t.shape[1] for t in tables],
            operations,
            codec,
            [shared] * len(tables) if isinstance(shared, bool) else shared,
            *(() if head is None else (codec.encode(head[1]), TierIndex.of(head[0], 2))),
        )

    @classmethod
    def bytes_of(
        cls,
        rows: Sequence[int],
        widths: Sequence[int],
        combine: Operation | Sequence[Operation] = "add",
        codec: RowCodec | None = None,
        *,
        hashes: int = 0,
        head: tuple[int, int] | None = None,
    ) -> int:
        """Bytes of the small tables, of the constants of hash functions, and of the head.

        Args:
            rows: of the table of each part: the sum of its moduli over all fields, or the modulus of a shared table.
            widths: values per row of each part.
            combine, codec: as for :meth:`pack`.
            hashes: index functions that are a :class:`Hash`, over all parts and fields.
            head: ``(R, H)``: of the ``R`` rows of the fields ``H`` have a row of their own.
        """
        codec = codec or RowCodec()
        total = sum(n * codec.row_bytes(w) for n, w in zip(rows, widths, strict=True)) + 16 * hashes
        if head is None:
            return total
        operations = [combine] * (len(widths) - 1) if isinstance(combine, str) else combine
        return total + head[1] * codec.row_bytes(composed_width(widths, operations)) + TierIndex.bytes_of(head[0], 2)

    def lookup(self, ids: Tensor) -> Tensor:
        local = ids.to(torch.int64) - self.starts
        parts = [self._part(j, local) for j in range(len(self.widths))]
        composed = parts[0]
        for operation, part in zip(self.operations, parts[1:], strict=True):
            composed = _combine(composed, operation, part)
        if self.head is None:
            return composed
        assert isinstance(self.chosen, TierIndex)
        chosen, rank = self.chosen.locate(local + self.firsts)
        if len(self.head) == 0:
            return composed
        own = self.codec.decode(self.head.index_select(0, (rank * chosen).flatten()), self.width)
        return torch.where((chosen > 0).unsqueeze(-1), own.view_as(composed), composed)

    def _part(self, j: int, local: Tensor) -> Tensor:
        functions, bases = self.functions[j], self.bases[j]
        rows = [functions[f](local[:, c]) + bases[f] for c, f in enumerate(self.column_fields)]
        stored = getattr(self, f"table{j}").index_select(0, torch.stack(rows, 1).flatten())
        return self.codec.decode(stored, self.widths[j]).view(*local.shape, self.widths[j])

    def programs(self, columns: Columns) -> list[Program]:
        own: list[int | Tensor] = [len(self.widths), *self.codec.words(self.width), 0, 0, 0, 0, 0]
        if self.head is not None and len(self.head):
            assert isinstance(self.chosen, TierIndex)
            own[6:] = [self.head, *self.chosen.arrays, self.codec.row_bytes(self.width)]
        functions, lines = [], []
        for j, (part, width) in enumerate(zip(self.functions, self.widths, strict=True)):
            words = [
                [*f.words(rows), base]
                for f, rows, base in zip(part, self.cardinalities.tolist(), self.bases[j].tolist(), strict=True)
            ]
            by_field = np.array(words, dtype=np.uint64).view(np.int64)
            functions.append(torch.from_numpy(by_field))
            # An array per word over the columns, and over the first ones again: any eight neighbours stand in a row.
            again = self.column_fields[np.arange(len(self.column_fields) + 8) % len(self.column_fields)]
            lines.append(torch.from_numpy(np.ascontiguousarray(by_field[again].T)))
            operation = OPERATIONS[self.operations[j - 1]] if j else 0
            own += [getattr(self, f"table{j}"), width, self.codec.row_bytes(width), operation, functions[j]]
        return [self.program(COMPOSED, columns, [*own, *lines])]

    def launches(self, ids: Tensor, places: Tensor, out: Tensor) -> list[Launch] | None:
        tables = [getattr(self, f"table{j}") for j in range(len(self.widths))]
        head = None
        if self.head is not None and len(self.head):
            assert isinstance(self.chosen, TierIndex)
            head = self.head, self.chosen
        parts = [*zip(tables, self.widths, strict=True), (head[0] if head else tables[0], self.width)]
        operations = [OPERATIONS[operation] for operation in self.operations]
        said = composition.constants(parts, operations, [_kinds(p) for p in self.functions], self.codec, bool(head))
        if said is None:
            return None
        fields = {"functions": self.function_words, "starts": self.starts, "first_rows": self.firsts}
        return [composition.launch(ids, places, out, tables, head, fields, said)]

    @classmethod
    def examples(cls, schema: Schema, fields: Sequence[int], width: int) -> Iterator[Example]:
        sizes = [schema.fields[f].cardinality for f in fields]
        digits = [Digit(modulus=max(1, n // 3)) for n in sizes]
        hashes = [Hash(multiplier=(1 << 40) + 7, increment=11, modulus=max(1, n // 2)) for n in sizes]
        moduli = [sum(f.modulus for f in part) for part in (digits, hashes)]
        chosen = torch.rand(sum(sizes)) < 0.2
        for combine in get_args(Operation):
            tables, whole = [torch.randn(n, width) for n in moduli], width * (1 + (combine == "concat"))
            for head in (None, (chosen, torch.randn(int(chosen.sum()), whole))):
                packed = cls.pack(schema, fields, [digits, hashes], tables, combine, head=head)
                owned = None if head is None else (sum(sizes), int(chosen.sum()))
                nbytes = cls.bytes_of(moduli, [width] * 2, combine, hashes=len(fields), head=owned)
                yield Example(packed, nbytes)

    def nbytes_by_field(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for j, part in enumerate(self.functions):
            row = self.codec.row_bytes(self.widths[j])
            for f, function in zip(self.fields, part, strict=True):
                name = self.schema.fields[f].name
                total[name] = total.get(name, 0) + (0 if self.shared[j] else function.modulus * row)
                total[name] += 16 * isinstance(function, Hash)
        # The head's rows and index run over all fields.
        rest = self.nbytes - sum(total.values())
        return {**total, SHARED: rest} if rest else total

    @property
    def num_parameters(self) -> int:
        small = sum(len(getattr(self, f"table{j}")) * w for j, w in enumerate(self.widths))
        return small + (0 if self.head is None else len(self.head) * self.width)

    def replicate(self, times: int) -> Self:
        tables = []
        for j, part in enumerate(self.functions):
            table, sizes = getattr(self, f"table{j}"), [f.modulus for f in part]
            pieces = [table] if self.shared[j] else table.split(sizes)
            tables.append(torch.cat([p.repeat(times, 1) for p in pieces]))
        head, chosen = self.head, None
        if head is not None:
            assert isinstance(self.chosen, TierIndex)
            by_field = self.chosen.tiers(int(self.cardinalities.sum())).split(self.cardinalities.tolist())
            owned = head.split([int(mask.sum()) for mask in by_field])
            chosen = TierIndex.of(torch.cat([mask.repeat(times) for mask in by_field]), 2)
            head = torch.cat([rows.repeat(times, 1) for rows in owned])
        functions = [[f.replicate(times) for f in part] for part in self.functions]
        schema = replicated(self.schema, times)
        return type(self)(
            schema, self.fields, functions, tables, self.widths, self.operations, self.codec, self.shared, head, chosen
        )

    def describe(self) -> dict[str, Any]:
        def settings(f: Digit | Hash) -> dict[str, int]:
            if isinstance(f, Hash):
                return {"hash_modulus": f.modulus}
            return {"divisor": f.divisor, "modulus": f.modulus}

        return {
            "codec": self.codec.model_dump(mode="json"),
            "parts": [
                {"width": w, "shared": s, "functions": [settings(f) for f in part]}
                for w, s, part in zip(self.widths, self.shared, self.functions, strict=True)
            ],
            "operations": list(self.operations),
            "head": self.head is not None,
        }

    @classmethod
    def restore(
        cls,
        schema: Schema,
        fields: Sequence[int],
        width: int,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> Self:
        said, kind = read_settings(ComposedSettings, settings, cls.kind), cls.kind
        cardinalities = [schema.fields[f].cardinality for f in fields]
        require(len(said.operations) == len(said.parts) - 1, kind, "operations do not fit the parts")
        require(all(len(p.functions) == len(fields) for p in said.parts), kind, "index functions do not fit the fields")
        require(max(cardinalities) <= MAX_ROWS, kind, "a field has more rows than an index function takes")
        widths = [p.width for p in said.parts]
        require(fits(widths, said.operations, width), kind, "widths of the parts do not combine to the row's")
        drawn = iter(cls._hashes(said, tensors))
        functions, names, tables = [], {"hashes"} if any(hashed(p) for p in said.parts) else set(), []
        for j, part in enumerate(said.parts):
            made = [
                Digit(divisor=f.divisor, modulus=f.modulus)
                if isinstance(f, DigitPart)
                else Hash(**dict(zip(("multiplier", "increment"), next(drawn), strict=True)), modulus=f.hash_modulus)
                for f in part.functions
            ]
            require(not part.shared or len({f.modulus for f in made}) == 1, kind, "a shared table has two sizes")
            rows = made[0].modulus if part.shared else sum(f.modulus for f in made)
            name = f"table{j}"
            tables.append(said.codec.check(take(tensors, name, kind), rows, part.width, f"format {kind}: '{name}'"))
            names.add(name)
            functions.append(made)
        head = chosen = None
        if said.head:
            chosen, parts = TierIndex.restore(tensors, "chosen", sum(cardinalities), 2, kind)
            owned = chosen.counts(sum(cardinalities))[1]
            head = said.codec.check(take(tensors, "head", kind), owned, width, f"format {kind}: 'head'")
            names |= {"head", *parts}
        only(tensors, names, kind)
        shared = [p.shared for p in said.parts]
        return cls(schema, fields, functions, tables, widths, said.operations, said.codec, shared, head, chosen)

    @staticmethod
    def _hashes(said: ComposedSettings, tensors: Mapping[str, Tensor]) -> list[list[int]]:
        count = sum(hashed(p) for p in said.parts)
        if not count:
            return []
        drawn = take_exact(tensors, "hashes", Composed.kind, torch.int64, (count, 2))
        require(
            bool((drawn >= 0).all() and (drawn[:, 0] > 0).all()), Composed.kind, "a hash function has no multiplier"
        )
        return drawn.tolist()


def _kinds(part: Sequence[Digit | Hash]) -> int:
    """0 where no function is a hash, 1 where every one is, 2 where some are."""
    hashes = sum(isinstance(f, Hash) for f in part)
    return 0 if not hashes else 1 if hashes == len(part) else 2


def _combine(left: Tensor, operation: Operation, right: Tensor) -> Tensor:
    if operation == "concat":
        return torch.cat([left, right], -1)
    return left + right if operation == "add" else left * right
