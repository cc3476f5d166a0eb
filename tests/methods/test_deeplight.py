"""DeepLight: the schedule, regrowth of what was pruned, and no validation of a table that is still too large."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from sharkbench.methods.deeplight.rows import PruneGradually, RegrowingRows

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_dataset
from sharkbench.data.schema import Field, Schema
from sharkbench.tables.kept import rows_of
from tests.tables.small_tables import table_of

from .planted import bench_on, planted


def test_the_share_follows_the_papers_curve_and_arrives() -> None:
    numbers, kept, ramp = 100_000, 20_000, 690
    schema = Schema((Field("a", numbers),), ("click",))
    rows = RegrowingRows(schema, (0,), torch.ones(numbers, 1), kept)
    schedule = PruneGradually(rows, kept, ramp=ramp, every=10)
    share, decay = 1 - kept / numbers, 0.99
    # The paper's U = 100 means that all but a thousandth is done after 100 ln(0.001) / ln(0.99) = 68,731 steps.
    unit = 100 * ramp / 68_731
    for step in range(10, ramp, 10):
        pruned = share * (1 - decay ** (step / unit))
        assert 1 - schedule.allowed(step, numbers) / numbers == pytest.approx(pruned, abs=2e-3)
    assert schedule.allowed(ramp - 1, numbers) > kept
    assert schedule.allowed(ramp, numbers) == schedule.allowed(10 * ramp, numbers) == kept
    assert schedule.allowed(ramp, kept - 5) == kept - 5


def test_what_was_pruned_by_mistake_grows_back() -> None:
    schema = tiny_dataset().schema
    torch.manual_seed(0)
    layer = RegrowingRows(schema, range(schema.num_fields), torch.rand(schema.num_rows, 2) + 0.1, kept=50)
    table = table_of(layer)
    ids = torch.from_numpy(schema.offsets[:-1][schema.slot_fields]).repeat(4, 1)
    with torch.no_grad():
        layer.weight[schema.offsets[0], 0] = 1e-3
    layer.prune(schema.num_rows)
    assert layer.weight[schema.offsets[0], 0] == 0
    assert layer.weight.count_nonzero() == schema.num_rows
    assert not table.may_stay()
    optimizer = torch.optim.SGD(layer.parameters(), lr=2.0)
    (-table(ids)[:, 0, 0].mean()).backward()
    optimizer.step()
    assert layer.weight[schema.offsets[0], 0] == 2
    layer.prune(50)
    assert layer.weight.count_nonzero() == 50
    assert table.may_stay()
    assert layer.weight[schema.offsets[0], 0] == 2, "it is among the largest now"


@pytest.mark.parametrize("ramp", [0.2, 0.8])
def test_only_a_table_that_is_small_enough_is_ever_the_best(tmp_path: Path, ramp: float) -> None:
    bench = bench_on(planted(6_000), tmp_path, budget=0.25, validations_per_epoch=4, patience=9)
    method = registry.parse({"name": "deeplight", "ramp": ramp, "every": 2})
    kept = method.size(bench.room, bench.shape).kept  # type: ignore[attr-defined]
    model = method.compress(bench)
    path = bench.ledger.notes["pruning"]
    counts = [step["kept"] for step in path]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == kept
    assert any(b["nonzero_before"] > a["kept"] for a, b in pairwise(path)), "numbers grew back"
    assert model.embedding.parts[0].mask.sum() == kept
    assert (rows_of(model.embedding) != 0).sum() == kept
    # Had a denser validation been kept, cutting it down would show.
    auc = bench.evaluate(model)["click"]["auc"]
    aucs = [epoch.valid["click"]["auc"] for epoch in bench.ledger.history if epoch.stage == "prune"]
    assert any(auc == pytest.approx(other, abs=1e-7) for other in aucs)
