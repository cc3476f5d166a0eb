"""binary: rows are signs times a magnitude, gradients pass the sign, tanh comes near it, and bytes are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sharkbench.methods.binary.rows import BinaryRows

from sharkbench.contract import registry
from sharkbench.errors import Infeasible
from sharkbench.formats.shape import TableShape
from sharkbench.tables.kept import rows_of
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from sharkbench.tables.small_fields import divide
from tests.methods.made_up import schema_of
from tests.tables.small_tables import table_of

SMALL = schema_of((300, 40, 5))


def made(scale: str, first_order: int = 0, rise: int | None = None) -> tuple[Table, BinaryRows]:
    """A table whose two larger fields are signs, and those."""
    torch.manual_seed(0)
    signs = BinaryRows(SMALL, (0, 1), 7 + first_order, first_order=first_order, scale=scale, init_std=0.1, rise=rise)  # type: ignore[arg-type]
    return table_of(signs, Rows.initial(SMALL, (2,), 7 + first_order, 0.1)), signs


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("scale", ["row", "field"])
@pytest.mark.parametrize("rise", [None, 10])
def test_serves_signs_times_a_magnitude(scale: str, first_order: int, rise: int | None) -> None:
    table, signs = made(scale, first_order, rise)
    served = rows_of(table.eval())
    latent = signs.latent.detach()
    for start, end, field in ((0, 300, 0), (300, 340, 1)):
        for i in range(start, end, 23):
            magnitude = latent[i, :7].abs().mean() if signs.log_scale is None else signs.log_scale[field].detach().exp()
            expected = torch.tensor([magnitude if x > 0 else -magnitude for x in latent[i, :7]])
            assert torch.allclose(served[i, :7], expected, rtol=1e-3)
    assert torch.equal(served[:340, 7:], latent[:, 7:].half().float())
    assert torch.equal(served[340:], table.parts[1].weight.detach())
    packed = table.pack()
    assert torch.equal(rows_of_packed(packed), served)


def rows_of_packed(packed: object) -> torch.Tensor:
    from sharkbench.tables.packed import PackedTable

    return rows_of(PackedTable(packed))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["row", "field"])
def test_the_gradient_of_a_row_is_handed_to_its_floats(scale: str) -> None:
    table, signs = made(scale, first_order=1)
    ids = torch.tensor([[3, 310, 341], [3, 320, 342]])
    weights = torch.randn(2, 3, 8)
    (table(ids) * weights).sum().backward()
    expected = torch.zeros(340, 8)
    for sample in range(2):
        for column in range(2):
            expected[ids[sample, column]] += weights[sample, column]
    assert signs.latent.grad is not None
    torch.testing.assert_close(signs.latent.grad, expected)
    if signs.log_scale is not None:
        served = rows_of(table)
        by_hand = sum((served[i, :7] * weights[s, 0, :7]).sum() for s, i in enumerate(ids[:, 0].tolist()))
        assert signs.log_scale.grad is not None
        torch.testing.assert_close(signs.log_scale.grad[0], by_hand)


def test_tanh_rises_to_the_sign_and_lets_its_own_gradient_through() -> None:
    table, signs = made("row", rise=10)
    table.train()
    ids = torch.tensor([[3, 310, 341]])
    body = signs.latent[3].detach()
    soft = table(ids)[0, 0]
    torch.testing.assert_close(soft, body.abs().mean() * torch.tanh(body / body.abs().mean()), rtol=1e-3, atol=1e-5)
    soft.sum().backward()
    assert signs.latent.grad is not None
    slopes = 1 - torch.tanh(body / body.abs().mean()) ** 2
    # Besides, the mean magnitude of the row moves: the same for all its numbers, up to their sign.
    rest = (signs.latent.grad[3] - slopes) * body.sign()
    assert torch.allclose(rest, rest[0].expand(7), atol=1e-3)
    gaps = []
    for _ in range(2):
        hard = table.eval()(ids)[0, 0]
        gaps.append((table.train()(ids)[0, 0] - hard).abs().mean().item())
        for _ in range(1000):
            table.after_step()
    assert gaps[1] < 0.2 * gaps[0]


@pytest.mark.parametrize("scale", ["row", "field"])
def test_rows_start_with_the_full_tables_deviation(scale: str) -> None:
    torch.manual_seed(0)
    signs = BinaryRows(schema_of((5000,)), (0,), 16, first_order=0, scale=scale, init_std=0.01)  # type: ignore[arg-type]
    rows = rows_of(table_of(signs))
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    assert abs(rows.mean().item()) < 0.0005


@pytest.mark.parametrize("first_order", [0, 2])
@pytest.mark.parametrize("budget", [1.0, 0.5, 0.25, 0.13, 0.09])
def test_bytes_are_exact_and_within_the_budget(first_order: int, budget: float) -> None:
    schema = schema_of((3000, 900, 500, 20))
    shape = TableShape(schema, 16, first_order)
    allowed = int(budget * shape.fp32_bytes)
    method = registry.parse("binary")
    size: Any = method.size(allowed, shape)
    small, coded = divide(schema, size.threshold)
    signs = BinaryRows(schema, coded, shape.width, first_order=first_order, scale=size.scale, init_std=0.1)
    table = table_of(signs, Rows.initial(schema, small, shape.width, 0.1))
    assert table.pack().nbytes == method.nbytes(size, shape) <= allowed  # type: ignore[attr-defined]
    # Another field would not fit: what is not used is less than that field would take.
    if coded:
        smallest = min(schema.fields[f].cardinality for f in coded)
        assert allowed - table.pack().nbytes < smallest * shape.width * 4


def test_a_scale_per_field_where_one_per_row_does_not_fit() -> None:
    shape = TableShape(schema_of(), 16)
    rows, fields = (registry.parse("binary").size(int(b * shape.fp32_bytes), shape) for b in (0.07, 0.05))
    assert (rows.scale, fields.scale) == ("row", "field")  # type: ignore[attr-defined]
    with pytest.raises(Infeasible, match="bytes, the budget is"):
        registry.parse("binary").size(int(0.03 * shape.fp32_bytes), shape)
