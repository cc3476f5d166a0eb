"""The full table and composed rows: starts, gradients, and that the packed layer serves what was trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharkbench.data.schema import PADDING, Field, Schema
from sharkbench.formats.composed_parts import Operation
from sharkbench.formats.index import Hash, quotient, remainder
from sharkbench.tables.composed import FieldFunctions, composed_nbytes, composed_parts
from sharkbench.tables.kept import rows_of
from sharkbench.tables.parts import Table
from tests.tables.small_tables import full, table_of

OPERATIONS: tuple[Operation, ...] = ("add", "mult", "concat")


def schema_of(*cardinalities: int, slots: dict[int, int] | None = None) -> Schema:
    fields = [Field(f"f{i}", n, slots=(slots or {}).get(i, 1)) for i, n in enumerate(cardinalities)]
    return Schema(tuple(fields), ("click",))


def ids_of(schema: Schema, rows: int, seed: int = 0) -> torch.Tensor:
    """``[rows, S]`` uniform ids; a tenth of the slots of multi-valued fields is empty."""
    rng = np.random.default_rng(seed)
    columns = []
    for f in schema.slot_fields:
        column = schema.offsets[f] + rng.integers(schema.fields[f].cardinality, size=rows)
        if schema.fields[f].slots > 1:
            column[rng.random(rows) < 0.1] = PADDING
        columns.append(column)
    return torch.from_numpy(np.stack(columns, 1)).int()


def quotient_remainder(schema: Schema, modulus: int, threshold: int) -> list[FieldFunctions]:
    sizes = [field.cardinality for field in schema.fields]
    return [(remainder(modulus), quotient(modulus, n)) if n > threshold else () for n in sizes]


class TestFullTable:
    def test_starts_with_the_given_spread(self) -> None:
        rows = rows_of(full(schema_of(4000, 1000), 8, 0.02))
        assert rows.std().item() == pytest.approx(0.02, rel=0.02)

    @pytest.mark.parametrize("sparse", [False, True])
    def test_gradient_has_the_batch_s_rows(self, sparse: bool) -> None:
        schema = schema_of(50, 30, slots={1: 3})
        table, ids = full(schema, 4, sparse=sparse), ids_of(schema, 6)
        table(ids).sum().backward()
        (weight,) = table.parameters()
        gradient = weight.grad
        assert gradient.is_sparse == sparse
        touched = gradient.to_dense().abs().sum(1).nonzero().squeeze(1).tolist()
        assert touched == sorted({i for i in ids.flatten().tolist() if i != PADDING})

    def test_packed_serves_the_same_and_stays_as_it_was(self) -> None:
        schema = schema_of(50, 30, slots={1: 3})
        table, ids = full(schema, 4), ids_of(schema, 20)
        trained, packed = table(ids).detach(), table.pack()
        with torch.no_grad():
            next(table.parameters()).zero_()
        torch.testing.assert_close(packed(ids), trained, rtol=0, atol=0)
        assert packed.nbytes == 80 * 4 * 4


def composed(
    schema: Schema, width: int, functions: Sequence[FieldFunctions], operation: Operation, init_std: float = 0.1
) -> Table:
    """Of the fields with functions composed rows, of the others a row per id."""
    return table_of(*composed_parts(schema, range(schema.num_fields), width, functions, operation, init_std))


class TestComposedRows:
    @given(
        cardinalities=st.lists(st.integers(2, 300), min_size=1, max_size=5),
        modulus=st.integers(1, 50),
        threshold=st.integers(0, 300),
        operation=st.sampled_from(OPERATIONS),
        multivalued=st.booleans(),
    )
    @settings(max_examples=40, deadline=None)
    def test_packed_serves_what_was_trained(
        self, cardinalities: list[int], modulus: int, threshold: int, operation: Operation, multivalued: bool
    ) -> None:
        schema = schema_of(*cardinalities, slots={0: 2} if multivalued else None)
        functions = quotient_remainder(schema, modulus, threshold)
        table, ids = composed(schema, 5, functions, operation), ids_of(schema, 30)
        packed = table.pack()
        torch.testing.assert_close(packed(ids), table(ids), rtol=0, atol=0)
        assert packed.nbytes == composed_nbytes(schema, 5, functions, operation)
        assert packed.nbytes == 4 * sum(p.numel() for p in table.parameters())

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_is_quotient_and_remainder(self, operation: Operation) -> None:
        schema = schema_of(1000)
        table = composed(schema, 6, quotient_remainder(schema, 7, 0), operation)
        ids = torch.tensor([[0], [6], [7], [999]])
        remainders, quotients = table.parts[0].tables
        first, second = remainders[ids[:, 0] % 7], quotients[ids[:, 0] // 7]
        by_operation = {"add": first + second, "mult": first * (1 + second), "concat": torch.cat([first, second], 1)}
        expected = by_operation[operation]
        torch.testing.assert_close(table(ids)[:, 0], expected)

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_generated_rows_have_the_spread_of_full_rows(self, operation: Operation, parts: int) -> None:
        torch.manual_seed(0)
        schema, generator = schema_of(20_000), torch.Generator().manual_seed(1)
        functions = [[Hash.draw(4000, generator) for _ in range(parts)]]
        table = composed(schema, 8, functions, operation, 1e-3)
        rows = table(torch.arange(20_000)[:, None]).detach()
        assert rows.std().item() == pytest.approx(1e-3, rel=0.1)
        assert abs(rows.mean().item()) < 1e-4, "rows lean to one side"

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_sparse_and_dense_gradients_agree(self, operation: Operation) -> None:
        schema = schema_of(200, 9, 60, slots={2: 2})
        gradients = []
        for sparse in (False, True):
            torch.manual_seed(0)
            table = composed(schema, 6, quotient_remainder(schema, 7, 20), operation)
            table.use_sparse_gradients(sparse)
            table(ids_of(schema, 40)).square().sum().backward()
            gradients.append([p.grad.to_dense() if p.grad.is_sparse else p.grad for p in table.parameters()])
        for dense, from_sparse in zip(*gradients, strict=True):
            torch.testing.assert_close(dense, from_sparse)

    def test_large_ids_are_divided_exactly(self) -> None:
        cardinality = 2**31 - 2
        schema = schema_of(cardinality)
        modulus = 65_537
        table = composed(schema, 2, [(remainder(modulus), quotient(modulus, cardinality))], "add")
        remainders, quotients = table.parts[0].tables
        for i in (cardinality - 1, 2**24 + 1, 2**30 + 3):
            expected = remainders[i % modulus] + quotients[i // modulus]
            torch.testing.assert_close(table(torch.tensor([[i]]))[0, 0], expected, rtol=0, atol=0)

    def test_wants_functions_for_every_field(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            composed(schema_of(10, 10), 4, [(remainder(3),)], "add")


def test_factors_decay_less_than_the_rows_that_they_multiply() -> None:
    schema = schema_of(50, 30)
    for operation in OPERATIONS:
        table = composed(schema, 4, quotient_remainder(schema, 7, 0), operation, 0.01)
        remainders, quotients = table.parts[0].tables
        groups = table.parameter_groups()
        decay = {id(p): group.get("l2_factor", 1.0) for group in groups for p in group["params"]}
        assert len(decay) == len(list(table.parameters()))
        assert decay[id(remainders)] == 1
        assert decay[id(quotients)] == (0.01 if operation == "mult" else 1)
