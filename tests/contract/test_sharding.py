"""Every method divides the rows of its tables among processes, or says why not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sharkbench.contract import registry, workbench
from sharkbench.contract.check import tiny_bench
from sharkbench.tables.base import EmbeddingLayer
from sharkbench.tables.parts import Part, Table
from sharkbench.tables.row_store import StoredRows
from sharkbench.tables.sharded import DivisibleStore


def parts_of(layer: torch.nn.Module) -> Iterator[Part]:
    """Of a table, or of the one that gates or chosen fields lie around."""
    if isinstance(layer, Table):
        yield from layer.members
    else:
        yield from parts_of(layer.inner)  # type: ignore[arg-type]


def divides(part: Part) -> bool:
    tables = part.row_tables()
    stores = [getattr(table.store, "cold", table.store) for table in tables if isinstance(table, StoredRows)]
    return bool(tables) and all(isinstance(store, DivisibleStore) for store in stores)


@pytest.mark.parametrize("name", registry.names())
def test_rows_are_divided_or_it_is_said_why_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[EmbeddingLayer] = []
    fit = workbench.fit
    monkeypatch.setattr(
        workbench, "fit", lambda model, *a, **k: (trained.append(model.embedding), fit(model, *a, **k))[1]
    )
    method = registry.get(name)(name=name)

    method.compress(tiny_bench("deepfm", 0.5 if method.budgeted else None))

    whole = [type(part).__name__ for layer in trained for part in parts_of(layer) if not divides(part)]
    assert trained
    assert bool(whole) == bool(method.unsharded), whole or "it divides all of them"
    assert all(layer.row_tables() for layer in trained) or method.unsharded
