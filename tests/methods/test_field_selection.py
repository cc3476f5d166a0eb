"""Field scores keep to their definitions, find planted importances, and the pruning loop does what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from sharkbench.backbones import BACKBONES as KNOWN
from sharkbench.contract import registry
from sharkbench.contract.check import tiny_dataset
from sharkbench.contract.workbench import Workbench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.errors import Infeasible, InputError
from sharkbench.field_selection.method import FieldSelection
from sharkbench.field_selection.pruning import _kept, without
from sharkbench.field_selection.scores import gradient_norms, permutation_scores, taylor_scores
from sharkbench.model.model import Model
from tests.methods.planted import NOISE, SIZE, bench_on, planted

BACKBONES = KNOWN.names()


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return planted()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def moved(bench: Workbench) -> Model:
    """A model none of whose parameters or statistics is where it started."""
    model = bench.model(bench.full_table())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for n, b in model.named_buffers() if "running" in n)):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) - (0.0 if tensor.dim() == 1 else 0.5))
    return model


def one_at_a_time(model: Model, bench: Workbench) -> tuple[torch.Tensor, torch.Tensor]:
    """Taylor scores and gradient norms by their definitions: a backward pass per sample and label."""
    split = bench.dataset.splits["valid"]
    model.eval()
    with torch.no_grad():
        mean = model.embedding(split.ids).double().mean(0)
    taylor, norms = (torch.zeros(split.labels.shape[1], *mean.shape[:1], dtype=torch.float64) for _ in range(2))
    for i in range(len(split)):
        for t in range(split.labels.shape[1]):
            e = model.embedding(split.ids[i : i + 1]).detach().requires_grad_()
            logit = model.backbone(e, split.dense[i : i + 1])[0, t]
            (g,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(logit, split.labels[i, t]), e)
            taylor[t] += ((mean - e[0]) * g[0]).sum(-1).abs().detach()
            norms[t] += g[0].norm(dim=-1)
    return taylor.T / len(split), norms.T / len(split)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_batched_scores_equal_one_sample_at_a_time(backbone: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from sharkbench.data.samples import Split

    whole = tiny_dataset()
    few = {name: Split(s.ids[:60], s.dense[:60], s.labels[:60]) for name, s in whole.splits.items()}
    bench = bench_on(replace(whole, splits=few), tmp_path, backbone)
    model = moved(bench)
    taylor, norms = one_at_a_time(model, bench)

    batched = taylor_scores(model, bench.dataset.splits["valid"], bench.task, batch_size=17)
    torch.testing.assert_close(batched, taylor, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(
        gradient_norms(model, bench.dataset.splits["valid"], bench.task, batch_size=17), norms, rtol=1e-5, atol=1e-9
    )
    assert (taylor > 0).any()


def test_scoring_leaves_the_model_alone(dataset: PreparedDataset, tmp_path: Path) -> None:
    bench = bench_on(dataset, tmp_path)
    model = moved(bench).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taylor_scores(model, dataset.splits["valid"], bench.task)

    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("backbone", ["deepfm", "dnn"])
def test_first_order_scores_find_the_noise_and_agree_with_permutation(
    backbone: str, dataset: PreparedDataset, shared: Path
) -> None:
    bench = bench_on(dataset, shared, backbone)
    model, names = bench.full_model(), [f.name for f in dataset.schema.fields]
    taylor = taylor_scores(model, dataset.splits["valid"], bench.task)[:, 0].numpy()
    exact = permutation_scores(model, dataset.splits["valid"], bench.task, 5, bench.generator("test"))["logloss"]

    assert {names[i] for i in np.argsort(taylor)[: len(NOISE)]} == NOISE
    real = [i for i, name in enumerate(names) if name not in NOISE]
    assert spearmanr(taylor[real], exact[real, 0].numpy()).statistic >= 0.8


def test_permutation_moves_the_slots_of_a_field_together(tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path, "fm")
    model, split = moved(bench), bench.dataset.splits["valid"]
    generator = torch.Generator().manual_seed(3)
    loss = permutation_scores(model, split, bench.task, 1, generator)["logloss"]

    generator.manual_seed(3)
    orders = [torch.randperm(len(split), generator=generator) for _ in range(4)]
    vectors = model.embedding(split.ids).detach()
    vectors[:, 2] = vectors[orders[2], 2]
    logits = model.eval().backbone(vectors, split.dense)
    before = F.binary_cross_entropy_with_logits(model(split.ids, split.dense), split.labels, reduction="none").mean(0)
    after = F.binary_cross_entropy_with_logits(logits, split.labels, reduction="none").mean(0)
    torch.testing.assert_close(loss[2], (after - before).double(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_pruned_field_that_says_nothing_changes_no_output(backbone: str, tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path, backbone)
    model, split = moved(bench).eval(), bench.dataset.splits["valid"]
    offsets = bench.schema.offsets
    with torch.no_grad():
        for f in (1, 2):
            model.embedding.parts[0].weight[offsets[f] : offsets[f + 1]] = 0
        smaller = without(model, (0, 3)).eval()
        torch.testing.assert_close(smaller(split.ids, split.dense), model(split.ids, split.dense), rtol=1e-5, atol=1e-5)
    packed = smaller.pack()
    assert packed.layer.nbytes == (700 + 3) * bench.width * 4
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(packed(split.ids, split.dense), smaller(split.ids, split.dense))


def test_fields_are_pruned_round_by_round_until_the_budget(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared, budget=0.5)
    model = registry.parse("f_permutation").compress(bench)
    path, scores = bench.ledger.notes["path"], bench.ledger.notes["scores"]

    assert [row["fields"] for row in path] == [8, 4]
    assert model.pack().layer.nbytes == path[-1]["bytes"] == 4 * SIZE * bench.width * 4 <= (bench.budget or 0)
    assert set(path[-1]["dropped"].split()) == NOISE | {"f6"}
    assert path[-1]["auc"] > path[0]["auc"] - 0.02
    assert [row["rank"] for row in scores] == list(range(1, 9))
    assert {row["field"] for row in scores[-3:]} == NOISE


def test_a_tolerance_stops_the_pruning_before_it_costs_more(dataset: PreparedDataset, shared: Path) -> None:
    method = registry.parse({"name": "f_permutation", "tolerance": 0.003})
    bench = bench_on(dataset, shared)
    model = method.compress(bench)
    path = bench.ledger.notes["path"]

    assert not method.budgeted
    names = {dataset.schema.fields[f].name for f in model.embedding.fields}
    assert not names & NOISE
    assert "f0" in names
    auc = bench.evaluate(model)["click"]["auc"]
    assert auc >= path[0]["auc"] - 0.003
    # The last step taken was one field too many.
    assert path[-1]["auc"] < path[0]["auc"] - 0.003


def test_one_shot_ranks_once_and_retrains(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared)
    method = registry.parse({"name": "f_permutation", "schedule": "one_shot", "keep": 3})
    model = method.compress(bench)

    assert len(model.embedding.fields) == 3
    assert len(bench.ledger.notes["path"]) == 2
    assert {epoch.stage for epoch in bench.ledger.history} == {"full", "retrain"}
    later = bench.for_stage("1", budget=None, start=model)
    with pytest.raises(InputError, match="one_shot"):
        method.compress(later)


def test_score_per_byte_lets_large_fields_go_first(tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path, "dnn", budget=0.9)
    registry.parse({"name": "f_permutation", "order": "score_per_byte"}).compress(bench)
    assert bench.ledger.notes["path"][-1]["dropped"] == "large"


def test_the_budget_is_filled_with_what_fits(tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path, "dnn", budget=0.2)
    model = registry.parse("random_fields").compress(bench)
    # Whatever its rank, the large field does not fit, and all others do.
    assert [bench.schema.fields[f].name for f in model.embedding.fields] == ["small", "tags", "tiny"]


def test_rounds_on_the_way_drop_nothing_that_fits_at_the_end(tmp_path: Path) -> None:
    # The large field is ranked best and would fit the first round's bytes, but never the budget.
    bench = bench_on(tiny_dataset(), tmp_path, "dnn", budget=0.17)
    sizes = {f: field.cardinality for f, field in enumerate(bench.schema.fields)}
    method = registry.parse({"name": "f_permutation", "shrink": 0.9})
    assert isinstance(method, FieldSelection)
    room = int(0.17 * sum(sizes.values()))
    assert _kept(method, (0, 3, 2, 1), sizes, room, None) == (1, 2, 3)
    # Of two that have to go, the lower one goes first.
    assert _kept(method, (3, 0, 2, 1), sizes, 5, None) == (0, 2, 3)
    assert _kept(method.model_copy(update={"schedule": "one_shot"}), (3, 0, 2, 1), sizes, 45, None) == (2, 3)


def test_agreement_with_exact_permutation_is_noted(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared)
    registry.parse({"name": "f_permutation", "keep": 7, "epochs": 0, "compare_shuffles": 2}).compress(bench)
    (note,) = bench.ledger.notes["agreement"]
    assert note["spearman_loss"] > 0.6
    assert note["seconds"] < note["permutation_seconds"]


def test_permutation_agrees_with_itself_up_to_chance(tmp_path: Path) -> None:
    bench = bench_on(planted(2000), tmp_path)
    same = {"shuffles": 1, "compare_shuffles": 1, "keep": 7, "epochs": 0}
    registry.parse({"name": "permutation", **same}).compress(bench)
    (note,) = bench.ledger.notes["agreement"]
    assert 0.5 < note["spearman_loss"] < 1


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_scores_of_several_labels_are_combined_as_stated(combine: str, tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path)
    registry.parse({"name": "f_permutation", "keep": 3, "epochs": 0, "combine": combine}).compress(bench)
    scores = bench.ledger.notes["scores"]
    for row in scores:
        click, like = row["score_click"], row["score_like"]
        assert click != like
        assert row["score"] == pytest.approx(max(click, like) if combine == "max" else (click + like) / 2)
    assert [row["score"] for row in scores] == sorted((row["score"] for row in scores), reverse=True)


@pytest.mark.parametrize("measure", ["loss", "auc"])
def test_permutation_ranks_by_the_measure_that_is_stated(measure: str, tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path)
    model = moved(bench)
    method = registry.parse({"name": "permutation", "measure": measure, "shuffles": 2})
    assert isinstance(method, FieldSelection)
    split, generator = bench.dataset.splits["valid"], bench.generator("permutation")
    found = permutation_scores(model, split, bench.task, 2, generator)
    loss, auc = found["logloss"], found["auc"]
    assert not torch.allclose(loss, auc)
    torch.testing.assert_close(method.scores(bench, model), loss if measure == "loss" else auc)


def test_scoring_counts_as_training_cost_and_nested_training_only_once(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared)
    registry.parse({"name": "autofield", "keep": 7, "epochs": 0}).compress(bench)
    _, search, rest = bench.ledger.costs
    assert search.epochs == 1
    assert rest.epochs == 0
    assert rest.seconds < search.seconds


@pytest.mark.parametrize("name", ["group_lasso", "autofield", "permutation"])
def test_rivals_prefer_real_fields_to_noise(name: str, dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared)
    method = registry.parse(name)
    assert isinstance(method, FieldSelection)
    scores = method.scores(bench, bench.full_model()).reshape(8, -1).mean(1)
    names = [f.name for f in dataset.schema.fields]
    noise = torch.tensor([n in NOISE for n in names])
    assert scores[0] > scores[noise].max()
    assert scores[~noise].mean() > scores[noise].mean()


def test_rankings_that_need_no_model(tmp_path: Path) -> None:
    bench = bench_on(tiny_dataset(), tmp_path)
    model = bench.model(bench.full_table())

    def scores(name: str) -> list[float]:
        method = registry.parse(name)
        assert isinstance(method, FieldSelection)
        return method.scores(bench, model).tolist()

    assert np.argsort(scores("largest_first")).tolist() == [0, 1, 2, 3]
    counts = bench.schema.frequencies
    assert counts is not None
    tiny = counts[bench.schema.offsets[3] :]
    assert scores("field_frequency")[3] == pytest.approx(1 - tiny.max() / tiny.sum())
    assert scores("random_fields") == scores("random_fields")


def test_a_goal_is_stated_once() -> None:
    with pytest.raises(ValueError, match="either keep or tolerance"):
        registry.parse({"name": "f_permutation", "keep": 3, "tolerance": 0.1})
    with pytest.raises(ValueError, match="iterative"):
        registry.parse({"name": "f_permutation", "schedule": "one_shot", "tolerance": 0.1})


def test_a_model_none_of_whose_fields_fits_is_infeasible(dataset: PreparedDataset, shared: Path) -> None:
    bench = bench_on(dataset, shared, budget=0.01)
    with pytest.raises(Infeasible, match="no field"):
        registry.parse("f_permutation").compress(bench)
