"""Sample weights in training: what weighs nothing changes nothing, and the unit of weights is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharkbench.methods.sseds.columns import column_saliency
from torch import Tensor

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Split
from sharkbench.field_selection.gates import lasso_gates, searched_gates
from sharkbench.field_selection.scores import gradient_norms, permutation_scores, taylor_scores
from sharkbench.tasks.ctr import Ctr
from sharkbench.training.data_parallel import share_of_batch
from sharkbench.training.group import Group
from tests.training.test_fit import make_model, train, weights


def weighted(dataset: PreparedDataset, unit: float = 1.0, flip: bool = False) -> PreparedDataset:
    """The data set with weights, of which a third are 0; the labels of those turned around, if wanted."""
    splits = {}
    for name, split in dataset.splits.items():
        weight = torch.arange(len(split)).remainder(3).float()
        labels = torch.where(weight[:, None] == 0, 1 - split.labels, split.labels) if flip else split.labels
        splits[name] = replace(split, labels=labels, weight=weight * unit)
    return replace(dataset, splits=splits)


@pytest.mark.parametrize("changes", [{"flip": True}, {"unit": 8.0}], ids=["labels of weight 0", "unit"])
def test_training_ends_with_the_same_bits(dataset: PreparedDataset, changes: dict[str, Any]) -> None:
    ends = []
    for data in (weighted(dataset), weighted(dataset, **changes)):
        model = make_model(data)
        report = train(model, data)
        ends.append((weights(model), [epoch.model_dump(exclude={"seconds"}) for epoch in report.history]))
    (one, history), (other, again) = ends
    for tensor, same in zip(one.values(), other.values(), strict=True):
        assert torch.equal(tensor, same)
    for epoch, told in zip(history, again, strict=True):
        assert epoch["train_loss"] == pytest.approx(told["train_loss"], rel=1e-12)
        assert epoch["valid"].keys() == told["valid"].keys()
        for label, values in epoch["valid"].items():
            assert values == pytest.approx(told["valid"][label], rel=1e-12)


def test_weights_change_the_model_and_the_loss_that_is_told(dataset: PreparedDataset) -> None:
    plain, own = make_model(dataset), make_model(dataset)
    without, found = train(plain, dataset), train(own, weighted(dataset))
    assert not torch.equal(weights(plain)["embedding.parts.0.weight"], weights(own)["embedding.parts.0.weight"])
    assert without.history[0].train_loss != found.history[0].train_loss


def test_equal_weights_train_as_none_do(dataset: PreparedDataset) -> None:
    splits = {name: replace(split, weight=torch.ones(len(split))) for name, split in dataset.splits.items()}
    plain, own = make_model(dataset), make_model(dataset)
    without, found = train(plain, dataset), train(own, replace(dataset, splits=splits))
    for epoch, told in zip(without.history, found.history, strict=True):
        assert told.train_loss == pytest.approx(epoch.train_loss, rel=1e-3)
        for label, values in told.valid.items():
            assert values["logloss"] == pytest.approx(epoch.valid[label]["logloss"], rel=1e-2)


class Parts(Group):
    """Stands for the processes of a group, one after the other: sums are what all of them would have sent."""

    def __init__(self, size: int, sums: Tensor) -> None:
        object.__setattr__(self, "rank", 0)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "sums", sums)

    def sum(self, tensor: Tensor) -> Tensor:
        return self.sums  # type: ignore[attr-defined, no-any-return]


@given(st.integers(0, 1000), st.integers(2, 4), st.lists(st.sampled_from([0.0, 0.0, 0.5, 3.0]), min_size=4, max_size=9))
@settings(max_examples=50, deadline=None)
def test_parts_of_a_batch_add_up_to_its_weighted_mean(seed: int, size: int, values: list[float]) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, rows = torch.tensor(values), len(values)
    logits = torch.randn(rows, 2, generator=generator)
    labels = torch.randint(2, (rows, 2), generator=generator).float()
    group = Parts(size, torch.tensor([sum(values), rows]))
    total = 0.0
    for part in range(size):
        own = [column.tensor_split(size)[part] for column in (logits, labels, weight)]
        loss, whole = share_of_batch(Ctr().loss(*own), own[2], group)
        assert float(whole) == sum(values)
        total += float(loss) * len(own[2])
    assert total / rows == pytest.approx(float(Ctr().loss(logits, labels, weight)), rel=1e-5, abs=1e-7)


def test_scores_of_fields_and_columns_are_those_of_samples_that_are_there_as_often(dataset: PreparedDataset) -> None:
    model = make_model(dataset)
    split = weighted(dataset).splits["valid"]
    assert split.weight is not None
    times = torch.repeat_interleave(torch.arange(len(split)), split.weight.long())
    repeated = Split(split.ids[times], split.dense[times], split.labels[times])
    for scores in (taylor_scores, gradient_norms):
        torch.testing.assert_close(
            scores(model, split, Ctr(), 64), scores(model, repeated, Ctr(), 64), rtol=1e-4, atol=1e-9
        )
    # Of one batch: how samples are divided into batches is not the same.
    whole = (column_saliency(model, part, Ctr(), len(part)) for part in (split, repeated))
    torch.testing.assert_close(next(whole), next(whole), rtol=1e-3, atol=1e-8)


def test_what_weighs_nothing_has_no_part_in_scores(dataset: PreparedDataset) -> None:
    model = make_model(dataset)
    one, other = (weighted(dataset, flip=flip).splits["valid"] for flip in (False, True))
    for name in ("logloss", "auc"):
        found = [
            permutation_scores(model, split, Ctr(), 1, torch.Generator().manual_seed(0))[name] for split in (one, other)
        ]
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(column_saliency(model, one, Ctr(), 64), column_saliency(model, other, Ctr(), 64))


@pytest.mark.parametrize("name", ["alpt", "f_quantization", "sseds"])
def test_methods_with_a_loss_of_their_own_weigh_it(name: str) -> None:
    """Labels of samples that weigh nothing change nothing of what such a method comes to."""
    tables = []
    for flip in (False, True):
        bench = tiny_bench("dcn", 0.5)
        bench = replace(bench, dataset=weighted(bench.dataset, flip=flip), full_key=f"{bench.full_key} {flip}")
        model = registry.parse(name).compress(bench)
        tables.append(model.pack().layer(bench.dataset.splits["valid"].ids[:100]))
    assert torch.equal(*tables)


def test_gates_are_learned_from_what_weighs_something() -> None:
    found = []
    for flip in (False, True):
        bench = tiny_bench("dcn", 0.5)
        bench = replace(bench, dataset=weighted(bench.dataset, flip=flip))
        model = bench.model(bench.full_table())
        lasso = lasso_gates(bench, model, steps=5, step_size=0.1, floor=0.1)
        search = searched_gates(bench, bench.full_table(), epochs=1, every=2, learning_rate=0.1, cooling=0.01)
        found.append(torch.stack([lasso, search]))
    assert torch.equal(*found)
