"""dhe: rows are a function of the id alone, the network is as wide as the budget allows, and starts where it should."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.dhe.rows import GeneratedRows

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import Infeasible
from sharkbench.formats.generated import encode
from sharkbench.formats.shape import TableShape
from sharkbench.tables.parts import Table
from sharkbench.tables.rows import Rows
from sharkbench.tables.small_fields import count_rows, divide
from sharkbench.training.optimizers import build_optimizer
from tests.tables.small_tables import table_of

SEEDS = torch.randint(1 << 62, (32,), generator=torch.Generator().manual_seed(5))


def schema_of(sizes: list[int]) -> Schema:
    return Schema(tuple(Field(f"f{i}", n) for i, n in enumerate(sizes)), labels=("click",))


def made(
    sizes: list[int], *, batch_norm: bool = True, transform: str = "uniform", width: int = 8
) -> tuple[Table, GeneratedRows]:
    """A table whose larger fields a network makes, and the part that does."""
    torch.manual_seed(0)
    schema = schema_of(sizes)
    small, large = divide(schema, 50)
    generated = GeneratedRows(schema, large, width, SEEDS, transform, [24, 20], batch_norm=batch_norm)  # type: ignore[arg-type]
    rows = Rows.initial(schema, small, width, 0.01)
    generated.start(0.01)
    return table_of(generated, rows), generated


def every_id(table: Table, rows: int) -> torch.Tensor:
    starts = torch.from_numpy(table.schema.offsets[:-1])
    sizes = torch.tensor([f.cardinality for f in table.schema.fields])
    return starts + torch.arange(rows)[:, None] % sizes


def stir(table: Table, steps: int = 5) -> None:
    """A few steps of training, so that weights, norms and running statistics are no longer those of the start."""
    optimizer = torch.optim.Adam(table.parameters(), lr=0.01)
    target = torch.randn(400, table.schema.num_fields, table.width, generator=torch.Generator().manual_seed(1))
    table.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (table(every_id(table, 400)) - target).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("transform", ["uniform", "gaussian"])
def test_trained_and_packed_rows_are_what_the_equation_says(batch_norm: bool, transform: str) -> None:
    table, network = made([300, 10, 200], batch_norm=batch_norm, transform=transform)
    stir(table)
    table.eval()
    ids = every_id(table, 300)
    for field in (0, 2):
        x = encode(ids[:, field], SEEDS, transform).double().numpy()  # type: ignore[arg-type]
        for k, linear in enumerate(network.linears):
            x = x @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()  # type: ignore[union-attr, operator]
            if k < 2 and network.norms is not None:
                norm = network.norms[k]
                mean, var, gamma, beta = (
                    t.detach().double().numpy()  # type: ignore[union-attr, operator]
                    for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
                )
                x = (x - mean) / np.sqrt(var + norm.eps) * gamma + beta
            if k < 2:
                x = x * np.tanh(np.logaddexp(0, x))
        for rows in (table(ids)[:, field], table.pack()(ids)[:, field]):
            assert rows.detach().numpy() == pytest.approx(x, abs=1e-5)


def test_a_row_depends_on_its_id_alone() -> None:
    table, _ = made([300, 10, 200])
    stir(table)
    table.eval()
    ids = every_id(table, 300)
    together, packed = table(ids), table.pack()
    for i in (0, 7, 299):
        assert torch.allclose(table(ids[i : i + 1])[0], together[i], atol=1e-6)
        assert torch.allclose(packed(ids[i : i + 1])[0], together[i], atol=1e-5)
    assert len(torch.unique(together[:, 0].detach(), dim=0)) == 300
    # The first ids of two fields are different rows: the field's place is in the hash.
    assert not torch.allclose(together[0, 0], together[0, 2], atol=1e-4)


def test_hashes_are_the_seeds() -> None:
    bench = tiny_bench("dcn", 0.5)
    first, again = (registry.parse("dhe").compress(bench).embedding.parts[0].seeds for _ in range(2))
    assert torch.equal(first, again)
    assert len(torch.unique(first)) == len(first)
    codes = encode(torch.arange(4000), first)
    assert codes.min() >= -1
    assert codes.max() < 1
    assert codes.std().item() == pytest.approx(3**-0.5, rel=0.02)
    normal = encode(torch.arange(4000), first, "gaussian")
    assert normal.std().item() == pytest.approx(1, rel=0.02)
    assert (normal.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.02)


def test_batch_norm_counts_each_different_id_once() -> None:
    (once, norms), (often, same) = made([300]), made([300])
    ids = torch.arange(100)[:, None]
    rows = once(ids)
    repeated = often(torch.cat([ids, ids[:1].repeat(500, 1)]))
    assert torch.equal(rows, repeated[:100])
    assert torch.equal(norms.norms[0].running_mean, same.norms[0].running_mean)  # type: ignore[index, arg-type]
    assert torch.isfinite(once(ids[:1].repeat(4, 1))).all(), "one different id in training"


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_rows_start_with_the_full_tables_deviation(batch_norm: bool, training: bool) -> None:
    table, _ = made([20000], batch_norm=batch_norm, width=16)
    rows = table.train(training).lookup(torch.arange(20000)[:, None])
    assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    assert abs(rows.mean().item()) < 0.001


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(2000, 60000),
    share=st.floats(0.02, 1),
    width=st.integers(4, 18),
    layers=st.integers(2, 6),
    hashes=st.sampled_from([None, 64]),
)
def test_fills_the_budget_to_two_percent(rows: int, share: float, width: int, layers: int, hashes: int | None) -> None:
    schema = schema_of([rows, 20])
    shape = TableShape(schema, width)
    budget = int(share * shape.fp32_bytes)
    try:
        size: Any = registry.parse({"name": "dhe", "layers": layers, "hashes": hashes}).size(budget, shape)
    except Infeasible:
        return  # that the reason is said is another test's business
    hidden, k = size.hidden, size.hashes
    assert len(hidden) == layers
    numbers = sum(i * o + o for i, o in pairwise([k, *hidden, width]))
    whole = count_rows(schema, divide(schema, size.threshold)[0])
    nbytes = 4 * numbers + 8 * k + 4 * width * whole
    assert nbytes <= budget
    if budget > 20000:
        assert nbytes >= 0.98 * budget


def test_predicted_bytes_are_the_packed_ones() -> None:
    bench = tiny_bench("deepfm", 0.5)
    method = registry.parse({"name": "dhe", "layers": 3})
    size: Any = method.size(bench.room, bench.shape)
    packed = method.compress(bench).pack().layer
    assert bench.budget is not None
    hidden, k = size.hidden, size.hashes
    numbers = sum(i * o + o for i, o in pairwise([k, *hidden, bench.width]))
    small, _ = divide(bench.schema, size.threshold)
    assert packed.nbytes == 4 * numbers + 8 * k + 4 * bench.width * count_rows(bench.schema, small)
    assert 0.98 * bench.budget <= packed.nbytes <= bench.budget


def test_normal_hashes_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="even"):
        registry.parse({"name": "dhe", "transform": "gaussian", "hashes": 7})


def test_says_what_it_needs_at_least() -> None:
    shape = TableShape(schema_of([5000, 20]), 8)
    with pytest.raises(Infeasible, match=r"dhe needs at least 12,364 bytes"):
        registry.parse({"name": "dhe", "hashes": 1024, "threshold": 0}).size(8000, shape)


def test_the_network_is_trained_at_its_own_rate_and_not_decayed_like_rows() -> None:
    bench = tiny_bench("dcn", 0.5)
    model = registry.parse({"name": "dhe", "learning_rate_factor": 5.0}).compress(bench)
    network, rows = model.embedding.parts
    recipe = bench.recipe.model_copy(update={"embedding_l2": 0.1, "network_l2": 0.01})
    groups = {id(p): group for group in build_optimizer(model, recipe).param_groups for p in group["params"]}
    assert {id(p) for p in model.embedding.parameters()} <= set(groups)
    for linear in network.linears:
        assert groups[id(linear.weight)]["lr"] == pytest.approx(5 * recipe.learning_rate)
        assert groups[id(linear.weight)]["l2"] == bench.recipe.network_l2
        assert groups[id(linear.bias)]["l2"] == 0
    assert groups[id(rows.weight)]["l2"] == 0.1
