"""Layers that fields have left give what the whole layer gives for the others, and serve nothing of the pruned ones."""

from __future__ import annotations

import pytest
import torch

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench, tiny_dataset
from sharkbench.data.schema import PADDING
from sharkbench.errors import InputError
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.kept import KeptFields, keep_fields, rows_of
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from tests.tables.small_tables import full, table_of

DATA = tiny_dataset()
IDS = DATA.splits["valid"].ids


def full_table() -> Table:
    torch.manual_seed(0)
    return full(DATA.schema, 5, 0.1)


def rows_in(layer: EmbeddingLayer) -> Rows:
    """The part that is all of the layer."""
    assert isinstance(layer, Table)
    (rows,) = layer.members
    assert isinstance(rows, Rows)
    return rows


@pytest.mark.parametrize("fields", [(0, 1, 2, 3), (0, 2), (1, 3), (2,), (3,)])
def test_kept_fields_give_what_they_gave(fields: tuple[int, ...]) -> None:
    table = full_table()
    expected = table(IDS)[:, list(fields)]
    kept = keep_fields(table, fields)

    assert torch.equal(kept(IDS), expected)
    assert torch.equal(kept.pack()(IDS), expected)
    rows = sum(DATA.schema.fields[f].cardinality for f in fields)
    assert rows_in(kept).weight.shape == (rows, 5)
    assert kept.pack().nbytes == rows * 5 * 4
    # Another way to the same result.
    wrapped = KeptFields(table, fields)
    assert torch.equal(wrapped(IDS), expected)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_reach_the_rows_that_were_read_and_no_others(sparse: bool) -> None:
    kept = keep_fields(full_table(), (1, 2))
    kept.use_sparse_gradients(sparse)
    kept(IDS[:5]).square().sum().backward()
    gradient = rows_in(kept).weight.grad
    assert gradient is not None
    assert gradient.is_sparse == sparse
    touched = gradient.to_dense().abs().sum(1).nonzero()[:, 0]
    small, tags = IDS[:5, 1] - 700, IDS[:5, 2:5]
    assert set(touched.tolist()) == {*small.tolist(), *(tags[tags != PADDING] - 700).tolist()}


def test_fields_may_leave_in_turns() -> None:
    table = full_table()
    once, twice = keep_fields(table, (0, 3)), keep_fields(keep_fields(table, (0, 2, 3)), (0, 3))
    assert torch.equal(once(IDS), twice(IDS))
    nested = keep_fields(KeptFields(table, (0, 2, 3)), (3,))
    assert isinstance(nested, KeptFields)
    assert nested.inner is table
    assert torch.equal(nested(IDS), table(IDS)[:, [3]])


@pytest.mark.parametrize("method", ["hash", "qr", "int8"])
def test_rows_are_read_through_any_layer(method: str) -> None:
    bench = tiny_bench("deepfm", 0.5)
    config = registry.parse(method)
    layer: EmbeddingLayer = config.compress(bench).embedding
    rows = rows_of(layer)
    table = table_of(Rows(bench.schema, layer.fields, rows.clone()))

    assert rows.shape == (bench.schema.num_rows, bench.width)
    torch.testing.assert_close(table(IDS), layer.eval()(IDS).detach())
    few = rows_of(layer, (1, 3))
    assert torch.equal(few, torch.cat([rows[700:790], rows[831:]]))


def test_fields_that_share_a_table_cannot_part() -> None:
    bench = tiny_bench("dcn", None)
    layer = registry.parse("int8").compress(bench).embedding
    with pytest.raises(InputError, match="share one 'int_rows' table"):
        keep_fields(layer, (0, 1)).pack()


def test_what_is_left_of_a_layer_trains_by_the_layers_own_rules() -> None:
    bench = tiny_bench("dcn", None)
    layer = registry.parse({"name": "tt_rec", "rank": 4, "threshold": 0}).compress(bench).embedding
    kept = KeptFields(layer, (0, 2))
    assert [group.get("l2") for group in kept.parameter_groups()] == [
        group.get("l2") for group in layer.parameter_groups()
    ]
    assert 0.0 in [group.get("l2") for group in kept.parameter_groups()]
    kept.inner.may_stay = lambda: False  # type: ignore[method-assign]
    assert not kept.may_stay()
