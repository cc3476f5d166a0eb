"""Low rank: the cut is the best there is, the budget goes where an axis is worth most, rows survive at full rank."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sharkbench.methods.low_rank.axes import Axes, ranks_by_energy

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.errors import Infeasible, InputError
from sharkbench.tables.dimensions import projected_bytes
from sharkbench.tables.kept import rows_of
from sharkbench.tables.projected import ProjectedRows
from tests.methods.bare_tables import SIZES, shape_of
from tests.tables.small_tables import table_of


def weighted_error(rows: torch.Tensor, made: torch.Tensor, weights: torch.Tensor) -> float:
    return float((weights[:, None] * (rows - made).square()).sum() / weights.sum())


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_cut_is_the_truncated_decomposition_of_weighted_rows(rank: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(60, 6) @ torch.randn(6, 6) + torch.randn(6)
    weights = torch.rand(60) ** 3 + 0.01
    axes = Axes.of(rows, weights)
    short, matrix, bias = axes.cut(rows, rank)
    made = short @ matrix + bias
    root = (weights / weights.sum()).sqrt()[:, None]
    u, s, v = torch.linalg.svd(root * (rows - bias), full_matrices=False)
    reference = (u[:, :rank] * s[:rank]) @ v[:rank] / root + bias
    torch.testing.assert_close(made, reference, rtol=1e-3, atol=1e-4)
    error = weighted_error(rows, made, weights)
    assert error == pytest.approx(float(axes.energy[rank:].sum()), rel=1e-3)
    for _ in range(20):
        other = ((short + 0.1 * torch.randn_like(short)) @ (matrix + 0.1 * torch.randn_like(matrix))) + bias
        assert weighted_error(rows, other, weights) > error


def test_axes_go_where_a_byte_holds_most_energy() -> None:
    torch.manual_seed(0)
    sizes, width = [400, 400, 400], 8
    strong, flat, weak = (torch.randn(400, width) * s for s in (3.0, 1.0, 0.01))
    axes = [Axes.of(rows, torch.ones(400)) for rows in (strong, flat, weak)]
    ranks = ranks_by_energy(axes, sizes, width, 4 * 400 * 13, what="low_rank")
    assert ranks[0] > ranks[1] > ranks[2] == 1
    with pytest.raises(Infeasible, match="bytes"):
        ranks_by_energy(axes, sizes, width, 4 * 400, what="low_rank")


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("start", ["trained", "scratch"])
def test_lands_within_two_percent_under_the_budget(start: str, share: float) -> None:
    torch.manual_seed(0)
    shape = shape_of(SIZES, 16, 2)
    budget = int(share * shape.fp32_bytes)
    ranks = registry.parse({"name": "low_rank", "start": start}).size(budget, shape).ranks  # type: ignore[attr-defined]
    if start == "trained":
        assert ranks is None
        axes = [Axes.of(torch.randn(50, 18) * torch.arange(1, 19), torch.ones(50)) for _ in SIZES]
        ranks = ranks_by_energy(axes, SIZES, 18, budget, what="low_rank")
    assert 0.98 * budget <= projected_bytes(SIZES, ranks, 18, bias=True) <= budget


def test_packed_bytes_are_the_predicted_ones() -> None:
    shape = shape_of([300, 40, 7], 6)
    packed = table_of(ProjectedRows(shape.schema, (0, 1, 2), 6, (2, 3, 6), 0.1, bias=True)).pack()
    assert packed.nbytes == projected_bytes([300, 40, 7], (2, 3, 6), 6, bias=True)


def test_without_fine_tuning_it_serves_the_cut_rows() -> None:
    bench = tiny_bench("dcn", 0.5)
    method = registry.parse({"name": "low_rank", "epochs": 0})
    trained, model = bench.full_model(), method.compress(bench)
    notes = {note["field"]: note for note in bench.ledger.notes["ranks"]}
    assert notes["tiny"]["rank"] == bench.width
    for field, name in enumerate(f.name for f in bench.schema.fields):
        rows, made = rows_of(trained.embedding, [field]), rows_of(model.embedding, [field])
        counts = torch.from_numpy(
            bench.schema.frequencies[bench.schema.offsets[field] : bench.schema.offsets[field + 1]]  # type: ignore[index]
        )
        weights = counts.float() + 1
        spread = weighted_error(rows, (weights[:, None] * rows).sum(0) / weights.sum(), weights)
        lost = weighted_error(rows, made, weights) / spread
        assert lost == pytest.approx(1 - notes[name]["energy_kept"], abs=1e-3)


def test_ranks_of_another_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 fields"):
        registry.parse({"name": "low_rank", "start": "scratch", "ranks": [1]}).compress(tiny_bench("dcn", None))
