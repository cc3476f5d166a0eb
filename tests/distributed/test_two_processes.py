"""Two processes that train a model together come to what one process comes to, tables divided or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sharkbench.errors import InputError
from sharkbench.training.group import Group
from sharkbench.training.parts import TrainPart, ValidationPart
from sharkbench.training.recipe import Recipe
from tests.distributed.cases import CASES, STOCHASTIC, dataset, train

TOLERANCE = 1e-4
"""Two processes add up in another order, and dozens of steps carry it on: to 2e-5 on some processors."""
SWAPPED_PAIRS = 2
"""Pairs of scores closer than the tolerance that may change places: an AUC counts the pairs that are in order."""


def of_labels(epoch: dict[str, Any], metric: str) -> list[float]:
    return [values[metric] for values in epoch["valid"].values()]


def numbers(history: list[dict[str, Any]]) -> torch.Tensor:
    return torch.tensor(
        [[e["train_loss"], *of_labels(e, "logloss"), e["learning_rate"]] for e in history], dtype=torch.float64
    )


def pairs_in_order(history: list[dict[str, Any]]) -> torch.Tensor:
    """Of each label and epoch: AUC times the pairs of a positive and a negative sample."""
    positive = dataset().splits["valid"].labels.double()
    pairs = positive.sum(0) * (1 - positive).sum(0)
    return torch.tensor([of_labels(e, "auc") for e in history], dtype=torch.float64) * pairs


@pytest.mark.parametrize("case", CASES)
def test_two_processes_come_to_what_one_comes_to(
    case: str, by_two: list[dict[str, dict[str, Any]]], tmp_path: Path
) -> None:
    one, (two, other) = train(case, tmp_path, 1), (found[case] for found in by_two)

    torch.testing.assert_close(numbers(two["history"]), numbers(one["history"]), rtol=0, atol=TOLERANCE)
    swapped = (pairs_in_order(two["history"]) - pairs_in_order(one["history"])).abs()
    assert swapped.max() <= SWAPPED_PAIRS + 0.1
    torch.testing.assert_close(two["logits"], one["logits"], rtol=0, atol=TOLERANCE)
    assert two["weights"].keys() == one["weights"].keys()
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, rtol=0, atol=TOLERANCE)
    assert two["samples"] == one["samples"]
    # Both processes come to the same, to the bit, and so decide the same.
    assert two["history"] == other["history"]
    assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in two["weights"].items())


@pytest.mark.parametrize("case", STOCHASTIC)
def test_two_processes_that_round_stochastically_come_to_the_same_in_both(
    case: str, by_two: list[dict[str, dict[str, Any]]], tmp_path: Path
) -> None:
    one, (two, other) = train(case, tmp_path, 1), (found[case] for found in by_two)

    assert two["history"] == other["history"]
    assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in two["weights"].items())
    torch.testing.assert_close(numbers(two["history"])[0], numbers(one["history"])[0], rtol=0, atol=0.02)


def test_what_cannot_go_well_ends_both_processes_alike(by_two: list[dict[str, dict[str, Any]]]) -> None:
    said, other = (found["refused"] for found in by_two)

    assert said == other
    assert "set train.processes to 1" in said["own chance"]
    assert "the loss of stage 'train' is nan in epoch 1, step 1" in said["overflow"]
    assert "RecentRows cannot be divided among processes" in said["indivisible"]


@pytest.mark.parametrize("size", [2, 3])
def test_parts_of_the_batches_are_the_batches(size: int) -> None:
    split = dataset(weighted=True).splits["train"]
    parts = [TrainPart(split, 250, 7, False, Group(rank, size)) for rank in range(size)]
    whole = TrainPart(split, 250, 7, False, Group())
    for _epoch in range(2):
        for batch, *divided in zip(whole, *parts, strict=True):
            lengths = [len(part.ids) for part in divided]
            assert max(lengths) - min(lengths) <= 1
            assert batch.weight is not None
            for column, joined in zip(batch, (torch.cat(c) for c in zip(*divided, strict=True)), strict=True):
                assert torch.equal(joined, column)


@pytest.mark.parametrize(
    ("rows", "size", "batch_size"), [(501, 2, 100), (501, 4, 1000), (7, 3, 2), (9, 2, 4), (5, 5, 1)]
)
def test_validation_sees_every_row_once_and_in_order(rows: int, size: int, batch_size: int) -> None:
    whole = dataset().splits["valid"]
    split = type(whole)(whole.ids[:rows], whole.dense[:rows], whole.labels[:rows])
    parts = [list(ValidationPart(split, batch_size, Group(rank, size))) for rank in range(size)]

    assert torch.equal(torch.cat([batch.ids for part in parts for batch in part]), split.ids)
    assert torch.equal(torch.cat([batch.labels for part in parts for batch in part]), split.labels)
    assert len({len(part) for part in parts}) == 1, "processes that look up together take the same number of steps"
    assert all(len(batch.ids) <= batch_size for part in parts for batch in part)


def test_a_process_that_is_alone_is_told_how_to_start_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match=r"train\.processes is 2, .*torchrun"):
        train("full, adam", tmp_path, 2)


def test_a_batch_has_a_row_for_each_process() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        Recipe(batch_size=3, processes=4)


def test_tables_are_divided_among_several_or_not_at_all() -> None:
    with pytest.raises(ValidationError, match="set processes to 2"):
        Recipe(shard_tables=True)
