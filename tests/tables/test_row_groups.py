"""Parts over groups of rows: each row comes from its group, and only the batch's rows are touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.formats.row_groups import RowGroups
from sharkbench.tables.composed import ComposedRows
from sharkbench.tables.parts import Table
from sharkbench.tables.row_groups import GroupedRows
from sharkbench.tables.rows import Rows

WIDTH = 3
SCHEMA = Schema((Field("a", 7), Field("b", 4, slots=3), Field("c", 5)), labels=("click",))


def grouped(groups: Tensor, fields: list[int]) -> GroupedRows:
    torch.manual_seed(0)
    count = int(groups.max()) + 1

    def make(schema: Schema, own: object) -> Rows:
        return Rows.initial(schema, range(schema.num_fields), WIDTH, 1.0)

    return GroupedRows(SCHEMA, fields, groups, [make] * count)


def batch(rng: np.random.Generator, rows: int = 9) -> Tensor:
    columns = []
    for f, field in enumerate(SCHEMA.fields):
        for slot in range(field.slots):
            ids = SCHEMA.offsets[f] + rng.integers(0, field.cardinality, rows)
            columns.append(np.where(rng.random(rows) < 0.4, PADDING, ids) if slot else ids)
    return torch.from_numpy(np.stack(columns, 1).astype(np.int32))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=16, max_size=16), st.integers(0, 1000))
def test_each_row_comes_from_its_group(drawn: list[int], seed: int) -> None:
    groups = torch.tensor([0, 1, 2, *drawn[3:]])
    part = grouped(groups, [0, 1, 2])
    layer = Table(SCHEMA, WIDTH, [part])
    full = torch.empty(16, WIDTH)
    for g, own in enumerate(part.members):
        full[groups == g] = own.weight.detach()  # type: ignore[operator]

    ids = batch(np.random.default_rng(seed))
    plain = Table(SCHEMA, WIDTH, [Rows(SCHEMA, [0, 1, 2], full)])
    assert torch.equal(layer(ids), plain(ids))
    packed = layer.pack()
    assert isinstance(packed.formats[0], RowGroups)
    assert torch.equal(packed(ids), plain(ids))


def test_gradients_are_those_of_one_table_and_touch_no_other_row() -> None:
    groups = torch.tensor([0, 1] * 8)
    part = grouped(groups, [0, 1, 2])
    layer, ids = Table(SCHEMA, WIDTH, [part]), batch(np.random.default_rng(1), 2)
    layer.use_sparse_gradients(True)
    full = torch.empty(16, WIDTH)
    for g, own in enumerate(part.members):
        full[groups == g] = own.weight.detach()  # type: ignore[operator]
    plain = Table(SCHEMA, WIDTH, [Rows(SCHEMA, [0, 1, 2], full)])

    layer(ids).square().sum().backward()
    plain(ids).square().sum().backward()

    (reference,) = plain.parameters()
    for g, own in enumerate(part.members):
        gradient = own.weight.grad.coalesce()  # type: ignore[union-attr]
        expected = reference.grad[groups == g]  # type: ignore[index]
        assert torch.allclose(gradient.to_dense(), expected)
        # An empty slot asks for its field's first row, as everywhere.
        read = set(torch.where(ids == PADDING, 7, ids).unique().tolist())
        asked = {int(i) for i in (groups == g).nonzero().flatten()}
        assert gradient.indices().shape[1] <= len(read & asked)


def test_a_group_may_lack_a_field_and_be_composed() -> None:
    from sharkbench.formats.index import remainder

    groups = torch.tensor([0] * 7 + [0, 1, 1, 1] + [1] * 5)  # field a in the first group, c in the second

    def popular(schema: Schema, own: object) -> Rows:
        return Rows.initial(schema, range(schema.num_fields), WIDTH, 1.0)

    def rare(schema: Schema, own: object) -> ComposedRows:
        functions = [[remainder(2)] for _ in schema.fields]
        return ComposedRows(schema, list(range(schema.num_fields)), WIDTH, functions, "add", 1.0)

    layer = Table(SCHEMA, WIDTH, [GroupedRows(SCHEMA, [0, 1, 2], groups, [popular, rare])])
    ids = batch(np.random.default_rng(2))

    assert [len(part.fields) for part in layer.members[0].members] == [2, 2]  # type: ignore[attr-defined]
    assert torch.equal(layer.pack()(ids), layer(ids))


def test_a_group_that_packs_as_two_formats_is_refused() -> None:
    class Twice(Rows):
        def pack(self) -> list:  # type: ignore[type-arg]
            return super().pack() * 2

    def make(schema: Schema, own: object) -> Rows:
        return Twice.initial(schema, range(schema.num_fields), WIDTH, 1.0)

    def twice(schema: Schema, own: object) -> Rows:
        rows = make(schema, own)
        return Twice(schema, rows.fields, rows.weight.detach())

    part = GroupedRows(SCHEMA, [0, 1, 2], torch.tensor([0, 1] * 8), [twice, twice])
    with pytest.raises(ValueError, match="packed as one format"):
        part.pack()


@pytest.mark.parametrize("named", [[0, 2], [0, 1], [0, 1, 2, 3]])
def test_a_group_without_rows_and_a_row_without_group_are_refused(named: list[int]) -> None:
    groups = torch.tensor((named * 16)[:16])

    def make(schema: Schema, own: object) -> Rows:
        return Rows.initial(schema, range(schema.num_fields), WIDTH, 1.0)

    with pytest.raises(ValueError, match="each group needs rows, each row a group"):
        GroupedRows(SCHEMA, [0, 1, 2], groups, [make] * 3)
    packed = make(SCHEMA, None).pack()
    with pytest.raises(ValueError, match="each group needs rows, each row a group"):
        RowGroups.pack(SCHEMA, [0, 1, 2], groups, packed * 3)


def test_groups_within_groups_are_refused_as_they_could_not_be_restored() -> None:
    inner = grouped(torch.tensor([0, 1] * 8), [0, 1, 2]).pack()
    with pytest.raises(ValueError, match="within one another"):
        RowGroups.pack(SCHEMA, [0, 1, 2], torch.tensor([0, 1] * 8), inner * 2)
