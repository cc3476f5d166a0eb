"""Losses of a method's own: weighted as the task's, teachers that stay as they are, rows that are pulled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sharkbench.contract.check import tiny_bench
from sharkbench.data.dataset import PreparedDataset
from sharkbench.data.samples import Batch
from sharkbench.measure.quality import predict
from sharkbench.tasks.ctr.loss import cross_entropy
from sharkbench.training.losses import Distillation, LossInputs
from sharkbench.training.overrides import Overrides
from tests.training.test_fit import QUICK, make_model, train, weights
from tests.training.test_weights import weighted

ONE = QUICK.model_copy(update={"epochs": 1})


def told_of(rows: int, seed: int, weight: Tensor | None, teacher: bool = True) -> LossInputs:
    generator = torch.Generator().manual_seed(seed)
    logits, taught = torch.randn(2, rows, 2, generator=generator) * 3
    labels = torch.randint(2, (rows, 2), generator=generator).float()
    batch = Batch(torch.zeros(rows, 1), torch.zeros(rows, 0), labels, weight)
    task = cross_entropy(logits, labels, weight)
    return LossInputs(None, batch, torch.zeros(rows, 1, 1), logits, task, taught if teacher else None)  # type: ignore[arg-type]


@given(st.integers(0, 999), st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=1, max_size=8) | st.none())
@settings(max_examples=60, deadline=None)
def test_means_are_weighted_as_the_task_weighs(seed: int, values: list[float] | None) -> None:
    weight = None if values is None else torch.tensor(values)
    told = told_of(4 if values is None else len(values), seed, weight)
    by_sample = F.binary_cross_entropy_with_logits(told.logits, told.batch.labels, reduction="none")
    torch.testing.assert_close(told.mean(by_sample), told.task)
    torch.testing.assert_close(told.mean(by_sample.mean(1)), told.task)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0.0, 2.0])], ids=["", "weighted"])
def test_distillation_is_the_formula(weight: Tensor | None) -> None:
    told, share, temperature = told_of(3, 5, weight), 0.3, 2.5
    z, t, y = told.logits.double(), told.teacher.double(), told.batch.labels.double()  # type: ignore[union-attr]
    p, q = torch.sigmoid(z), torch.sigmoid(z / temperature)
    target = torch.sigmoid(t / temperature)
    task = -(y * p.log() + (1 - y) * (1 - p).log()).mean(1)
    taught = -(target * q.log() + (1 - target) * (1 - q).log()).mean(1)
    counts = torch.ones(3, dtype=torch.float64) if weight is None else weight.double()
    by_hand = ((1 - share) * task + share * temperature**2 * taught) @ counts / counts.sum()
    assert float(Distillation(share, temperature)(told)) == pytest.approx(float(by_hand), rel=1e-5)


def test_distillation_without_a_teacher_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="needs a teacher"):
        Distillation()(told_of(3, 0, None, teacher=False))


@pytest.mark.parametrize("weigh", [False, True], ids=["", "weighted"])
def test_the_task_s_loss_as_one_s_own_is_the_loop_to_the_bit(dataset: PreparedDataset, weigh: bool) -> None:
    data = weighted(dataset) if weigh else dataset
    ends = []
    for changes in ({}, {"loss": lambda told: told.task}, {"loss": Distillation(0.0), "teacher": make_model(data)}):
        model = make_model(data)
        train(model, data, ONE, overrides=Overrides(**changes))  # type: ignore[arg-type]
        ends.append(weights(model))
    for other in ends[1:]:
        assert all(torch.equal(other[name], tensor) for name, tensor in ends[0].items())


def test_a_student_comes_to_its_teacher_and_the_teacher_stays(dataset: PreparedDataset) -> None:
    """With labels turned around, so that only the teacher says what is so."""
    teacher = make_model(dataset)
    train(teacher, dataset)
    teacher.train()
    before, split = weights(teacher), dataset.splits["train"]
    wrong = replace(dataset, splits={**dataset.splits, "train": replace(split, labels=1 - split.labels)})
    valid, agreement = dataset.splits["valid"], []
    for share in (0.0, 1.0):
        student = make_model(dataset)
        recipe = QUICK.model_copy(update={"monitor": "logloss"})
        train(student, wrong, recipe, overrides=Overrides(loss=Distillation(share, 2.0), teacher=teacher))
        assert teacher.training
        taught, learned = (predict(model, valid) for model in (teacher, student))
        agreement.append(np.corrcoef(taught[:, 0], learned[:, 0])[0, 1])
    assert agreement[0] < 0.2
    assert agreement[1] > agreement[0] + 0.3
    assert all(torch.equal(weights(teacher)[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_loss_sees_ids_vectors_and_labels_of_the_batch(dataset: PreparedDataset) -> None:
    """A pull on the rows of the batch, as an L2 of the vectors."""
    shapes: set[Any] = set()

    def pulled(told: LossInputs) -> Tensor:
        shapes.add((*told.batch.ids.shape, *told.vectors.shape, *told.logits.shape, *told.batch.labels.shape))
        return told.task + 10 * told.mean(told.vectors.square().sum(2))

    plain, own = make_model(dataset), make_model(dataset)
    train(plain, dataset)
    train(own, dataset, overrides=Overrides(loss=pulled))
    assert shapes == {(250, 4, 250, 3, 6, 250, 2, 250, 2)}
    assert own.embedding.parts[0].weight.norm() < 0.5 * plain.embedding.parts[0].weight.norm()


def test_a_model_is_not_its_own_teacher() -> None:
    bench = tiny_bench("dnn", None)
    model = bench.model(bench.full_table())
    with pytest.raises(ValueError, match="its own teacher"):
        bench.train(model, loss=Distillation(), teacher=model)
