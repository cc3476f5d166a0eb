"""AutoDim: the mixture, the choice within a budget, and a search that gives fields that matter longer rows."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from sharkbench.methods.autodim.mixture import MixedDimensions, most_likely

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_dataset
from sharkbench.data.samples import Split
from sharkbench.data.schema import Field, Schema
from sharkbench.errors import InputError
from sharkbench.field_selection.gates import endless
from sharkbench.tables.dimensions import field_bytes, projected_bytes
from tests.methods.bare_tables import SIZES
from tests.methods.planted import NOISE, bench_on, planted
from tests.tables.small_tables import full

CANDIDATES = [1, 2, 4, 8, 16]


def layer_of(init_std: float = 0.01) -> MixedDimensions:
    torch.manual_seed(0)
    schema = Schema((Field("a", 50), Field("b", 30)), ("click",))
    return MixedDimensions(full(schema, 4, init_std), (1, 2, 4), init_std)


def test_a_sure_gate_leaves_the_normalised_prefix_of_its_candidate() -> None:
    layer = layer_of()
    layer.logits[:] = torch.tensor([[-40.0, 40.0, -40.0], [-40.0, -40.0, 40.0]])
    ids = torch.stack([torch.randint(50, (64,)), 50 + torch.randint(30, (64,))], 1)
    vectors, mixed = layer.inner(ids), layer(ids)
    for field, k in enumerate([1, 2]):
        d = layer.candidates[k]
        lifted = vectors[:, field, :d] @ layer.matrices[k][field]
        normed = (lifted - lifted.mean(0)) / lifted.var(0, correction=0).sqrt()
        torch.testing.assert_close(mixed[:, field], 0.01 * normed, rtol=1e-3, atol=1e-6)


def test_no_candidate_wins_by_its_norm() -> None:
    layer = layer_of()
    layer.eval()
    ids = torch.stack([torch.randint(50, (256,)), 50 + torch.randint(30, (256,))], 1)
    with torch.no_grad():
        before = layer.gated(layer.inner(ids), layer.logits)
        layer.matrices[0].mul_(100)
        after = layer.gated(layer.inner(ids), layer.logits)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-6)
    assert before.std().item() < 0.0101


def test_noise_is_for_training_and_held_out_statistics_are_not_remembered() -> None:
    layer = layer_of()
    shares = layer.gates(layer.logits)
    assert not torch.equal(shares, layer.gates(layer.logits))
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    ids = torch.stack([torch.randint(50, (64,)), 50 + torch.randint(30, (64,))], 1)
    mean = layer.mean.clone()
    layer.gated(layer.inner(ids), layer.logits)
    assert torch.equal(layer.mean, mean)
    layer(ids)
    assert not torch.equal(layer.mean, mean)
    layer.eval()
    assert torch.equal(layer.gates(layer.logits), torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize("steps", [3, 400])
def test_a_constant_field_gives_zeros_and_not_its_rounding_errors(steps: int) -> None:
    layer = layer_of()
    with torch.no_grad():
        layer.inner.parts[0].weight.mul_(30)
    for _ in range(steps):
        ids = torch.stack([torch.full((64,), 7), 50 + torch.randint(30, (64,))], 1)
        mixed = layer(ids)
        assert not mixed[:, 0].any()
        assert mixed[:, 1].std() > 0.005
    held_out = layer.gated(layer.inner(ids), layer.logits)
    assert not held_out[:, 0].any()
    layer.eval()
    # Running statistics take a while to get there.
    assert layer(ids)[:, 0].abs().max() <= (0 if steps == 400 else 0.01)
    if steps == 400:
        assert layer(ids)[:, 1].std() > 0.005


@pytest.mark.parametrize(("rows", "sizes"), [(257, [256]), (258, [256, 2]), (1, [1])])
def test_no_held_out_batch_is_of_one_sample_unless_there_is_but_one(rows: int, sizes: list[int]) -> None:
    split = tiny_dataset().splits["train"]
    stream = endless(Split(split.ids[:rows], split.dense[:rows], split.labels[:rows]), 256, 0)
    for _ in range(3):
        assert [len(next(stream).labels) for _ in sizes] == sizes


def test_the_choice_is_the_likeliest_that_fits() -> None:
    torch.manual_seed(0)
    rows, width, candidates = [400, 900, 250], 8, [1, 2, 4, 8]
    for share in (0.2, 0.4, 0.7):
        logits = 3 * torch.randn(3, 4)
        budget = int(share * 4 * width * sum(rows))
        found = most_likely(logits, candidates, rows, width, budget)
        scores = logits.log_softmax(1)

        def bytes_of(ks: tuple[int, ...], rows: list[int] = rows) -> int:
            return sum(field_bytes(n, candidates[k], width) for n, k in zip(rows, ks, strict=True))

        # One unit per field below the budget is lost to rounding up.
        fitting = [ks for ks in product(range(4), repeat=3) if bytes_of(ks) <= budget * (1 - 3 / 20_000)]
        best = max(fitting, key=lambda ks: float(sum(scores[f, k] for f, k in enumerate(ks))))
        assert all(d >= candidates[k] for d, k in zip(found, best, strict=True))
        assert projected_bytes(rows, found, width) <= budget


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_lands_within_two_percent_under_the_budget(share: float) -> None:
    torch.manual_seed(0)
    budget = int(share * 4 * 16 * sum(SIZES))
    for scale in (0.01, 1.0):
        found = most_likely(scale * torch.randn(len(SIZES), 5), CANDIDATES, SIZES, 16, budget)
        assert 0.98 * budget <= projected_bytes(SIZES, found, 16) <= budget


def test_the_search_moves_gates_and_the_choice_follows_them(tmp_path: Path) -> None:
    bench = bench_on(planted(12_000), tmp_path, budget=0.6)
    method = registry.parse({"name": "autodim", "gate_learning_rate": 0.1, "search_epochs": 2})
    model = method.compress(bench)
    notes = bench.ledger.notes["dimensions"]
    assert [note["dimension"] for note in notes] == list(model.embedding.parts[0].dimensions)  # type: ignore[attr-defined]
    assert max(note["share_4"] for note in notes) - min(note["share_4"] for note in notes) > 0.05
    expected = {
        note["field"]: sum(d * note[f"share_{d}"] for d in (1, 2, 3, 4) if f"share_{d}" in note) for note in notes
    }
    of_noise = [d for field, d in expected.items() if field in NOISE]
    of_others = [d for field, d in expected.items() if field not in NOISE]
    assert sum(of_others) / len(of_others) > sum(of_noise) / len(of_noise)
    stages = {epoch.stage for epoch in bench.ledger.history}
    assert stages == {"search", "retrain"}


def test_without_a_budget_each_field_has_its_likeliest(tmp_path: Path) -> None:
    bench = bench_on(planted(3_000), tmp_path, epochs=1)
    method = registry.parse({"name": "autodim", "choose": "likeliest", "candidates": [1, 2, 3]})
    assert not method.budgeted
    method.compress(bench)
    for note in bench.ledger.notes["dimensions"]:
        assert note["dimension"] == max((1, 2, 3), key=lambda d: note[f"share_{d}"])


def test_candidates_beyond_the_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="candidate 9"):
        registry.parse({"name": "autodim", "candidates": [2, 9]}).compress(bench_on(planted(1_000), tmp_path))
