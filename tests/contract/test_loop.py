"""Loops outside of training: their cost and epochs are the run's, the best state stays, a kill costs a round."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sharkbench.contract.check import tiny_bench
from sharkbench.contract.passes import counted
from sharkbench.contract.workbench import Workbench
from sharkbench.files.digests import MadeAgain
from sharkbench.results.records import Epoch
from sharkbench.training import kept


class Killed(Exception):
    """Stands for a kill: nothing of the loop's process is used after it."""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every round."""
    monkeypatch.setattr(kept, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(kept, "COST", 0)


def bench_in(folder: Path | None, **changes: Any) -> Workbench:
    bench = tiny_bench("dnn", None)
    recipe = bench.recipe.model_copy(update=changes)
    return replace(bench, checkpoints=folder, recipe=recipe)


def grown(bench: Workbench, *, kill_in: int | None = None, start: float = 1.0, rounds: int = 5, **settings: Any) -> Any:
    """A table that a generator of the loop's own moves round by round; ``(state, rounds that ran, loop)``."""
    table = bench.full_table()
    model, ran = bench.model(table), []
    state = {
        "rows": table.parts[0].weight.detach().clone() * start,
        "generator": bench.generator("walk"),
        "log": [0.5, {"word": "a"}],
    }
    with bench.loop("walk", state, rounds=rounds, **settings) as loop:
        for number in loop:
            ran.append(number)
            loop.state["rows"] += torch.rand(loop.state["rows"].shape, generator=loop.state["generator"])
            loop.state["log"] = [*loop.state["log"][-2:], float(torch.rand(()))]
            with torch.no_grad():
                table.parts[0].weight.copy_(loop.state["rows"])
            loop.count(100)
            loop.validate(model, loss=float(number))
            if number == kill_in:
                raise Killed
    return loop.state, ran, loop


def dated(history: list[Epoch]) -> list[dict[str, Any]]:
    return [epoch.model_dump(exclude={"seconds"}) for epoch in history]


def test_a_loop_is_a_stage_of_the_run() -> None:
    seen: list[Epoch] = []
    bench = replace(bench_in(None).for_stage("1:mine", budget=None, start=None), on_epoch=seen.append)
    _, ran, loop = grown(bench)
    [cost] = bench.ledger.costs
    assert ran == [1, 2, 3, 4, 5]
    assert (cost.samples, cost.epochs) == (500, 5)
    assert cost.seconds > 0
    assert cost.peak_memory_bytes > 0
    assert bench.ledger.history == loop.history == seen
    assert {epoch.stage for epoch in seen} == {"1:mine/walk"}
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4, 5]
    assert [epoch.train_loss for epoch in seen] == [1, 2, 3, 4, 5]
    assert sum(epoch.seconds for epoch in seen) <= cost.seconds


def test_a_validation_is_the_bench_s() -> None:
    bench = bench_in(None)
    model = bench.model(bench.full_table())
    with bench.loop("look") as loop:
        found = loop.validate(model)
    assert found == bench.evaluate(model)
    [epoch] = bench.ledger.history
    assert {label: values["auc"] for label, values in epoch.valid.items()} == {k: v["auc"] for k, v in found.items()}
    assert math.isnan(epoch.train_loss)


def test_trainings_within_a_loop_count_themselves() -> None:
    bench = bench_in(None)
    with bench.loop("alternating") as loop:
        loop.count(7)
        bench.train(bench.model(bench.full_table()))
    trained, own = bench.ledger.costs
    assert (trained.samples, own.samples, own.epochs) == (2048, 7, 0)
    assert own.seconds < trained.seconds


def test_a_counted_pass_is_a_loop_without_rounds() -> None:
    bench = bench_in(None)
    with counted(bench, 123):
        pass
    [cost] = bench.ledger.costs
    assert (cost.samples, cost.epochs, bench.ledger.history) == (123, 0, [])


def test_the_best_state_is_kept_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[torch.Tensor] = []
    for keep_best in (False, True):
        state, _, loop = grown(bench_in(None), keep_best=keep_best)
        rows.append(state["rows"])
        scores = [sum(values["auc"] for values in epoch.valid.values()) for epoch in loop.history]
        assert scores[loop.best_epoch - 1] == max(scores)
    state, _, _ = grown(bench_in(None), rounds=loop.best_epoch)
    assert torch.equal(rows[1], state["rows"])
    assert torch.equal(rows[0], rows[1]) == (loop.best_epoch == 5)


def test_log_loss_may_decide() -> None:
    _, _, loop = grown(bench_in(None, monitor="logloss"))
    losses = [sum(values["logloss"] for values in epoch.valid.values()) for epoch in loop.history]
    assert losses[loop.best_epoch - 1] == min(losses)


def test_patience_and_a_break_end_it() -> None:
    _, ran, loop = grown(bench_in(None, min_delta=1.0), patience=2)
    assert (ran, loop.misses) == ([1, 2, 3], 2)
    bench = bench_in(None)
    with bench.loop("until", {}) as loop:
        for number in loop:
            if number == 4:
                break
    assert (loop.round, bench.ledger.costs[0].epochs) == (4, 4)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("keep_best", [False, True])
def test_after_kills_it_goes_on_and_ends_the_same(tmp_path: Path, keep_best: bool) -> None:
    wanted, _, whole = grown(bench_in(None), keep_best=keep_best)
    for kill_in in (1, 4):
        with pytest.raises(Killed):
            grown(bench_in(tmp_path), kill_in=kill_in, keep_best=keep_best)
    bench = bench_in(tmp_path)
    state, ran, loop = grown(bench, keep_best=keep_best)
    assert ran == [4, 5], "the round that was killed is done again, those before it are not"
    for run in (state, grown(bench_in(tmp_path), keep_best=keep_best)[0]):
        assert torch.equal(run["rows"], wanted["rows"])
        assert torch.equal(run["generator"].get_state(), wanted["generator"].get_state())
    assert dated(loop.history) == dated(whole.history)
    assert (loop.best_epoch, loop.round) == (whole.best_epoch, whole.round)
    assert (bench.ledger.costs[0].samples, bench.ledger.costs[0].epochs) == (500, 5)
    assert grown(bench_in(tmp_path), keep_best=keep_best)[1] == [], "a loop that had ended was done again"


@pytest.mark.usefixtures("often")
def test_trainings_within_it_are_told_of_after_a_kill(tmp_path: Path) -> None:
    def alternating(bench: Workbench, kill_in: int | None) -> Workbench:
        model = bench.model(bench.full_table())
        rows = model.embedding.parts[0].weight.detach().clone()
        with bench.loop("alternating", {"rows": rows}, rounds=3) as loop:
            for number in loop:
                with torch.no_grad():
                    model.embedding.parts[0].weight.copy_(loop.state["rows"])
                bench.train(model, stage=f"train {number}")
                loop.state["rows"] = model.embedding.parts[0].weight.detach().clone()
                if number == kill_in:
                    raise Killed
        return bench

    wanted = alternating(bench_in(None), None)
    with pytest.raises(Killed):
        alternating(bench_in(tmp_path), 2)
    bench = alternating(bench_in(tmp_path), None)
    assert [epoch.stage for epoch in bench.ledger.history] == [epoch.stage for epoch in wanted.ledger.history]
    assert [cost.samples for cost in bench.ledger.costs] == [cost.samples for cost in wanted.ledger.costs]


@pytest.mark.usefixtures("often")
def test_what_starts_from_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        grown(bench_in(tmp_path), kill_in=3)
    others: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"start": 2.0}), ({}, {"rounds": 4}), ({"learning_rate": 0.5}, {})
    ]  # fmt: skip
    for recipe, settings in others:
        assert grown(bench_in(tmp_path, **recipe), **settings)[1][0] == 1
    assert grown(replace(bench_in(tmp_path), stage="2:other"))[1][0] == 1
    assert grown(replace(bench_in(tmp_path), seed=2))[1][0] == 1
    assert grown(bench_in(tmp_path))[1] == [3, 4, 5]


@pytest.mark.usefixtures("often")
def test_a_damaged_file_is_told_of_and_not_believed(tmp_path: Path) -> None:
    wanted, _, _ = grown(bench_in(None))
    with pytest.raises(Killed):
        grown(bench_in(tmp_path), kill_in=3)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(MadeAgain, match="does not go on from it"):
        state, ran, _ = grown(bench_in(tmp_path))
    assert ran == [1, 2, 3, 4, 5]
    assert torch.equal(state["rows"], wanted["rows"])


def test_a_short_loop_writes_nothing(tmp_path: Path) -> None:
    grown(bench_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_kept_is_named() -> None:
    bench = bench_in(None)
    with (
        pytest.raises(ValueError, match="loop 'codes': 'model' is a Linear; a state is made of tensors"),
        bench.loop("codes", {"model": torch.nn.Linear(1, 1)}) as loop,
    ):
        next(iter(loop))


def test_an_error_within_it_stays_what_it_is() -> None:
    bench = bench_in(None)
    with pytest.raises(KeyError), bench.loop("x"):
        raise KeyError("x")
    assert bench.ledger.costs == []
