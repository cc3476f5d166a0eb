"""A table whose rows a store holds trains as one in memory does, and never becomes one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharkbench.data.schema import Field, Schema
from sharkbench.formats.base import Format
from sharkbench.formats.codec import RowCodec
from sharkbench.model.model import Model
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.code_store import CodeStore, SeededGenerator
from sharkbench.tables.kept import rows_of
from sharkbench.tables.low_precision import LowPrecisionRows
from sharkbench.tables.parts import Part, Slots, Table
from sharkbench.tables.row_store import StoredRows, lookup_rows
from sharkbench.training.gradients import clip, regularize, sum_rows
from sharkbench.training.optimizers import build_optimizer
from sharkbench.training.recipe import Recipe
from tests.tables.small_tables import full, table_of

SCHEMA, WIDTH = Schema((Field("a", 9), Field("b", 5)), ("click",)), 3


class Plain:
    """A store that keeps every number as it is."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def read(self, rows: Tensor) -> Tensor:
        return self.table[rows]

    def write(self, rows: Tensor, values: Tensor) -> None:
        self.table[rows] = values


class Stored(Part):
    def __init__(self, store: Plain) -> None:
        super().__init__(SCHEMA, range(SCHEMA.num_fields), WIDTH)
        self.__dict__["rows"] = StoredRows(store, *store.table.shape)

    def forward(self, slots: Slots) -> Tensor:
        rows, places = torch.unique(slots.rows, return_inverse=True)
        return F.embedding(places, lookup_rows(self.rows, rows))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.rows]}]

    def pack(self) -> list[Format]:
        raise NotImplementedError


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 2 * WIDTH).view(2, WIDTH))

    def forward(self, vectors: Tensor, dense: Tensor) -> Tensor:
        return (vectors * self.weight).sum((1, 2))


def trained(layer: EmbeddingLayer, optimizer: str, steps: int = 6) -> None:
    model, recipe = Model(layer, Head()), Recipe(optimizer=optimizer, learning_rate=0.1, embedding_l2=0.3)
    stepper = build_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(0)
    parameters = [p for group in stepper.param_groups for p in group["params"]]
    for _ in range(steps):
        ids = torch.stack(
            [torch.randint(9, (7,), generator=generator), torch.randint(9, 14, (7,), generator=generator)], 1
        )
        stepper.zero_grad()
        (model(ids, torch.empty(7, 0)).tanh() - 0.5).square().sum().backward()
        for p in parameters:
            if p.grad is not None and p.grad.is_sparse:
                p.grad = sum_rows(p.grad)
        for group in stepper.param_groups:
            regularize(group["params"], group["l2"])
        clip(parameters, 1.0)
        stepper.step()


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "rowwise_adagrad", "sgd"])
def test_a_stored_table_trains_as_one_in_memory(optimizer: str) -> None:
    table = full(SCHEMA, WIDTH, sparse=True)
    start = rows_of(table)
    store = Plain(start.clone())

    trained(table, optimizer)
    trained(table_of(Stored(store)), optimizer)

    assert not torch.equal(store.table, start)
    torch.testing.assert_close(store.table, rows_of(table), rtol=1e-5, atol=1e-6)


def coded() -> tuple[Table, LowPrecisionRows]:
    """A layer, and the part that is all of it."""
    store = CodeStore(SCHEMA.num_rows, WIDTH, RowCodec(dtype="int8"), "stochastic", SeededGenerator(0, "rounding"))
    store.fill(lambda n: torch.randn(n, WIDTH))
    rows = LowPrecisionRows(SCHEMA, range(SCHEMA.num_fields), store)
    return table_of(rows), rows


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "rowwise_adagrad", "sgd"])
def test_its_parameter_has_a_shape_and_no_memory(optimizer: str) -> None:
    layer, part = coded()
    trained(layer, optimizer, steps=2)

    assert part.rows.shape == (14, WIDTH)
    assert part.rows.untyped_storage().nbytes() == 4
    assert not list(layer.parameters())
    assert {name: t.dtype for name, t in layer.state_dict().items()} == {"parts.0.store.table": torch.uint8}


def test_copies_are_apart_and_as_small() -> None:
    (layer, _), ids = coded(), torch.tensor([[1, 10], [8, 13]])
    copied = deepcopy(layer)
    (part,) = copied.members
    assert isinstance(part, LowPrecisionRows)
    before = copied(ids).detach()
    trained(layer, "sgd")

    assert part.rows.store is part.store
    assert part.rows.untyped_storage().nbytes() == 4
    torch.testing.assert_close(copied(ids), before, rtol=0, atol=0)
    assert not torch.equal(layer(ids), before)


def test_state_goes_there_and_back() -> None:
    (layer, _), (other, _), ids = coded(), coded(), torch.tensor([[1, 10], [8, 13]])
    trained(layer, "lazy_adam")
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(ids), layer(ids), rtol=0, atol=0)
    torch.testing.assert_close(other.pack()(ids), layer(ids), rtol=0, atol=0)
