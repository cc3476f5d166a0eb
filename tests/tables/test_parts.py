"""Tables of several parts against a slow obvious reference: whichever fields a part has, nobody sees a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.errors import InputError
from sharkbench.formats.index import quotient, remainder
from sharkbench.tables.composed import ComposedRows
from sharkbench.tables.kept import KeptFields, keep_fields, rows_of
from sharkbench.tables.masked import MaskedRows
from sharkbench.tables.parts import Beside, Part, Table
from sharkbench.tables.projected import ProjectedRows
from sharkbench.tables.rows import Rows

WIDTH = 4
KINDS = ("rows", "masked", "composed", "projected", "beside")
ALONE = ("rows", "masked")
"""Kinds whose fields share nothing, so that one of them can leave."""


def part_of(kind: str, schema: Schema, fields: tuple[int, ...]) -> Part:
    rows = sum(schema.fields[f].cardinality for f in fields)
    match kind:
        case "rows":
            return Rows.initial(schema, fields, WIDTH, 1.0)
        case "masked":
            return MaskedRows(schema, fields, torch.randn(rows, WIDTH), torch.rand(rows, WIDTH) < 0.6)
        case "composed":
            functions = [(remainder(3), quotient(3, schema.fields[f].cardinality)) for f in fields]
            return ComposedRows(schema, fields, WIDTH, functions, "add", 1.0)
        case "projected":
            dimensions = [1 + i % WIDTH for i in range(len(fields))]
            return ProjectedRows(schema, fields, WIDTH, dimensions, 1.0, bias=True)
        case _:
            return Beside([Rows.initial(schema, fields, 1, 1.0), Rows.initial(schema, fields, WIDTH - 1, 1.0)])


def slow_rows(part: Part) -> dict[int, Tensor]:
    """Of each field of a part all its rows, ``[n, width]``, by what the part says that they are."""
    made: dict[int, Tensor] = {}
    if isinstance(part, Beside):
        sides = [slow_rows(side) for side in part.members]
        return {f: torch.cat([side[f] for side in sides], 1) for f in part.fields}
    if isinstance(part, Rows):
        start = 0
        for f, n in zip(part.fields, part.sizes, strict=True):
            made[f] = part.weight[start : start + n]
            start += n
    elif isinstance(part, ComposedRows):
        starts = [0, 0]
        for place, (f, n) in enumerate(zip(part.fields, part.sizes, strict=True)):
            first, second = (part.functions[j][place] for j in (0, 1))
            rows = [part.tables[0][starts[0] + i % 3] + part.tables[1][starts[1] + i // 3] for i in range(n)]
            made[f] = torch.stack(rows)
            starts = [starts[0] + first.modulus, starts[1] + second.modulus]
    else:
        assert isinstance(part, ProjectedRows)
        for f, n, d in zip(part.fields, part.sizes, part.dimensions, strict=True):
            g = next(g for g, members in enumerate(part.groups) if f in members)
            before = [m for m in part.groups[g] if m < f]
            start = sum(part.schema.fields[m].cardinality for m in before)
            short = part.rows[g][start : start + n]
            made[f] = short if d == WIDTH else short @ part.matrices[g][len(before)] + part.biases[g][len(before)]
    return made


def slow(table: Table, ids: Tensor) -> Tensor:
    """What the table has to give, sample by sample, field by field and slot by slot."""
    schema, rows = table.schema, {f: own for part in table.members for f, own in slow_rows(part).items()}
    samples = []
    for sample in ids.tolist():
        vectors = []
        for f in sorted(rows):
            asked = [i for i, owner in zip(sample, schema.slot_fields.tolist(), strict=True) if owner == f]
            found = [rows[f][i - int(schema.offsets[f])] for i in asked if i != PADDING]
            total = sum(found, torch.zeros(WIDTH))
            mean = schema.fields[f].slots > 1 and schema.fields[f].pooling == "mean"
            vectors.append(total / max(len(found), 1) if mean else total)
        samples.append(torch.stack(vectors))
    return torch.stack(samples)


@dataclass(frozen=True)
class Case:
    """A table, some of whose schema's fields it has, in parts of several kinds."""

    schema: Schema
    parts: tuple[tuple[str, tuple[int, ...]], ...]
    seed: int

    def table(self) -> Table:
        torch.manual_seed(self.seed)
        return Table(self.schema, WIDTH, [part_of(kind, self.schema, fields) for kind, fields in self.parts])

    def ids(self, samples: int = 9) -> Tensor:
        """``[samples, S]``; slots of fields with several values are empty now and then, at times all of them."""
        rng = np.random.default_rng(self.seed)
        columns = []
        for f in self.schema.slot_fields.tolist():
            column = self.schema.offsets[f] + rng.integers(self.schema.fields[f].cardinality, size=samples)
            if self.schema.fields[f].slots > 1:
                column[rng.random(samples) < 0.4] = PADDING
            columns.append(column)
        return torch.from_numpy(np.stack(columns, 1)).int()


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> Case:
    sizes = st.tuples(st.integers(1, 12), st.sampled_from([1, 1, 2, 3]), st.sampled_from(["mean", "sum"]))
    fields = tuple(Field(f"f{i}", *own) for i, own in enumerate(draw(st.lists(sizes, min_size=1, max_size=6))))
    # Of each field the part that has it; 0 for none.
    owner = draw(st.lists(st.integers(0, 3), min_size=len(fields), max_size=len(fields)).filter(any))
    groups = [tuple(f for f, own in enumerate(owner) if own == p) for p in (1, 2, 3)]
    parts = [(draw(st.sampled_from(kinds)), group) for group in draw(st.permutations(groups))]
    parts = [(kind, group) for kind, group in parts if group]
    return Case(Schema(fields, ("click",)), tuple(parts), draw(st.integers(0, 999)))


def present(case: Case) -> Tensor:
    """The fields of the table, ascending."""
    return torch.tensor(sorted(f for _, group in case.parts for f in group))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_table_gives_what_its_parts_say_field_by_field(case: Case) -> None:
    table, ids = case.table(), case.ids()
    found = table(ids)
    assert list(table.fields) == present(case).tolist()
    assert found.shape == (len(ids), len(table.fields), WIDTH)
    torch.testing.assert_close(found, slow(table, ids), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(table(ids.long()), found, rtol=0, atol=0)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_what_is_packed_is_what_is_evaluated(case: Case) -> None:
    table, ids = case.table().eval(), case.ids()
    packed = table.pack()
    assert packed.fields == table.fields
    torch.testing.assert_close(packed(ids), table(ids), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(cases())
def test_gradients_are_the_reference_s_whether_sparse_or_dense(case: Case) -> None:
    table, ids = case.table(), case.ids()
    pull = torch.randn(len(ids), len(table.fields), WIDTH)

    def gradients(vectors: Tensor) -> list[Tensor]:
        table.zero_grad()
        (vectors * pull).sum().backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in table.parameters()]

    expected = gradients(slow(table, ids))
    for sparse in (False, True):
        table.use_sparse_gradients(sparse)
        found = gradients(table(ids))
        kinds = {p.grad.is_sparse for part in table.members for p in part.row_tables() if p.grad is not None}
        assert kinds <= {sparse}
        for p, own, wanted in zip(table.parameters(), found, expected, strict=True):
            kept = [part.mask for part in table.members if isinstance(part, MaskedRows) and part.weight is p]
            # Of a pruned number the reference's gradient is that of a zero that could grow.
            torch.testing.assert_close(own, wanted * kept[0] if kept else wanted, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(cases(), st.data())
def test_rows_are_read_field_by_field_in_their_order(case: Case, data: st.DataObject) -> None:
    table = case.table()
    by_field = {f: own for part in table.members for f, own in slow_rows(part).items()}
    torch.testing.assert_close(rows_of(table), torch.cat([by_field[f] for f in table.fields]))
    some = data.draw(st.lists(st.sampled_from(table.fields), unique=True))
    wanted = torch.cat([torch.zeros(0, WIDTH), *(by_field[f] for f in sorted(some))])
    torch.testing.assert_close(rows_of(table, some), wanted)
    assert table.training, "the mode is left as it was"


@settings(deadline=None, max_examples=60)
@given(cases(), st.data())
def test_fields_that_are_kept_give_what_they_gave(case: Case, data: st.DataObject) -> None:
    table, ids = case.table().eval(), case.ids()
    kept = sorted(data.draw(st.lists(st.sampled_from(table.fields), min_size=1, unique=True)))
    fewer = keep_fields(table, kept).eval()
    assert fewer.fields == tuple(kept)
    torch.testing.assert_close(fewer(ids), table(ids)[:, [table.fields.index(f) for f in kept]])
    torch.testing.assert_close(rows_of(fewer), rows_of(table, kept))
    # Parts that lose some of their fields only can be cut where these share nothing; others stay whole, inside.
    cut = [kind for kind, own in case.parts if 0 < len(set(own) & set(kept)) < len(own)]
    assert isinstance(fewer, KeptFields) == (not set(cut) <= set(ALONE))
    if isinstance(fewer, Table):
        torch.testing.assert_close(fewer.pack()(ids), fewer(ids))
        assert all(set(part.fields) <= set(kept) for part in fewer.members)
        if not cut:
            assert all(part in table.members for part in fewer.members)


@pytest.mark.parametrize("kind", ["rows", "masked"])
def test_cut_parts_train_apart_from_the_whole(kind: str) -> None:
    schema = Schema((Field("a", 5), Field("b", 7, slots=2)), ("click",))
    table = Table(schema, WIDTH, [part_of(kind, schema, (0, 1))])
    fewer = keep_fields(table, (1,))
    before = rows_of(table)
    with torch.no_grad():
        for parameter in fewer.parameters():
            parameter.add_(1)
    assert torch.equal(rows_of(table), before)
    assert sum(p.numel() for p in fewer.parameters()) == 7 * WIDTH


def test_fields_that_share_weights_are_served_together_or_not_at_all() -> None:
    schema = Schema((Field("a", 5), Field("b", 7), Field("c", 2)), ("click",))
    table = Table(schema, WIDTH, [part_of("composed", schema, (0, 1)), part_of("rows", schema, (2,))])
    assert keep_fields(table, (0, 1)).pack().fields == (0, 1)
    with pytest.raises(InputError, match="fields a, b share"):
        keep_fields(table, (1, 2)).pack()


def test_parts_come_back_in_the_schema_s_order_and_are_packed_in_their_own() -> None:
    schema = Schema(tuple(Field(f"f{i}", 4, slots=1 + i % 2) for i in range(5)), ("click",))
    parts = [part_of("rows", schema, fields) for fields in ((3, 0), (4, 2), (1,))]
    table = Table(schema, WIDTH, parts)
    assert table.fields == (0, 1, 2, 3, 4)
    assert [part.fields for part in table.members] == [(0, 3), (2, 4), (1,)]
    assert [tuple(packed.fields) for packed in table.pack().formats] == [(0, 3), (2, 4), (1,)]


def test_parts_without_fields_are_left_out_and_what_cannot_be_is_refused() -> None:
    schema = Schema((Field("a", 5), Field("b", 7)), ("click",))
    whole, none = part_of("rows", schema, (0, 1)), part_of("rows", schema, ())
    assert Table(schema, WIDTH, [none, whole]).members == [whole]
    with pytest.raises(ValueError, match="two parts have the same field"):
        Table(schema, WIDTH, [whole, part_of("rows", schema, (1,))])
    with pytest.raises(ValueError, match="the table has 5"):
        Table(schema, 5, [whole])
    with pytest.raises(ValueError, match="different fields"):
        Beside([whole, part_of("rows", schema, (1,))])
    with pytest.raises(ValueError, match="7 rows for fields of 5"):
        Rows(schema, (0,), torch.zeros(7, WIDTH))


def test_hooks_of_all_parts_are_those_of_the_table() -> None:
    class Watched(Rows):
        steps = 0
        stays = True

        def after_step(self) -> None:
            self.steps += 1

        def may_stay(self) -> bool:
            return self.stays

        def extra_loss(self) -> Tensor:
            return self.weight.square().sum()

    schema = Schema((Field("a", 5), Field("b", 7)), ("click",))
    one, other = (Watched(schema, (f,), torch.randn(schema.fields[f].cardinality, WIDTH)) for f in (0, 1))
    first, rest = Watched(schema, (1,), torch.randn(7, 1)), Rows.initial(schema, (1,), WIDTH - 1, 1.0)
    for parts, watched in (([one, other], [one, other]), ([one, Beside([first, rest])], [one, first])):
        table, before = Table(schema, WIDTH, parts), [part.steps for part in watched]
        table.after_step()
        assert [part.steps for part in watched] == [n + 1 for n in before]
        loss = table.extra_loss()
        assert loss is not None
        torch.testing.assert_close(loss, sum(part.weight.square().sum() for part in watched))
        assert table.may_stay()
        watched[-1].stays = False
        assert not table.may_stay()
        assert {id(t) for t in table.row_tables()} == {id(p) for p in table.parameters()}
        grouped = [id(p) for group in table.parameter_groups() for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in table.parameters())
    assert Table(schema, WIDTH, [Rows.initial(schema, (0, 1), WIDTH, 1.0)]).extra_loss() is None
