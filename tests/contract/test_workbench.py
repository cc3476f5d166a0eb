"""The workbench: seeds pair, the full-precision model is trained once, pipelines hand models on, costs add up."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import ClassVar, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from sharkbench.contract.budget import Budget
from sharkbench.contract.check import tiny_bench
from sharkbench.contract.method import Family, Method, Takes
from sharkbench.contract.pipeline import Pipeline, Stage
from sharkbench.contract.workbench import Workbench
from sharkbench.files.digests import SEAL, MadeAgain, seal
from sharkbench.model.model import Model
from sharkbench.results.records import Epoch
from sharkbench.tables.kept import rows_of


class Doubled(Method):
    """Starts from a trained model and doubles its rows: easy to recognise."""

    name: Literal["doubled"] = "doubled"
    title: ClassVar[str] = "-"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 2026
    family: ClassVar[Family] = "none"
    seen: ClassVar[list[int | None]] = []

    @property
    def takes(self) -> Takes:
        return "model"

    def compress(self, bench: Workbench) -> Model:
        self.seen.append(bench.budget)
        model = bench.start_model()
        with torch.no_grad():
            model.embedding.parts[0].weight.mul_(2)
        bench.note("rows", [{"doubled": True}])
        return model


def same(one: Model, two: Model) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_the_full_model_is_trained_once_and_shared() -> None:
    bench = tiny_bench("deepfm", None)
    first = bench.full_model()
    weights = bench.shared / bench.full_key / "model.safetensors"
    marked = {key: value + 1 if value.is_floating_point() else value for key, value in load_file(weights).items()}
    save_file(marked, weights)
    seal(weights.parent, ["model.safetensors", "training.json"])
    again = replace(bench, ledger=type(bench.ledger)())
    second = again.full_model()
    assert not same(first, second), "the stored weights were not used"
    assert again.ledger.total() == bench.ledger.total(), "whoever starts from it pays for it too"
    assert again.ledger.history == bench.ledger.history
    assert bench.ledger.total().samples == 2048


def test_what_was_stored_is_what_was_trained() -> None:
    bench = tiny_bench("dcn", None)
    assert same(bench.full_model(), bench.full_model())


def test_a_training_killed_before_its_last_write_is_done_again() -> None:
    bench = tiny_bench("dcn", None)
    model = bench.full_model()
    folder = bench.shared / bench.full_key
    (folder / SEAL).unlink()
    (folder / "model.safetensors").write_bytes(b"half")
    assert same(bench.full_model(), model)


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", SEAL])
@pytest.mark.parametrize("damage", ["a page of zeros", "truncated", "empty", "gone"])
def test_a_shared_model_that_is_damaged_is_told_of_and_trained_again(name: str, damage: str) -> None:
    bench = tiny_bench("dnn", None)
    model = bench.full_model()
    file = bench.shared / bench.full_key / name
    content = file.read_bytes()
    middle = len(content) // 2
    damaged = {
        "a page of zeros": content[:middle] + bytes(min(4096, len(content) - middle)) + content[middle + 4096 :],
        "truncated": content[:middle],
        "empty": b"",
    }
    file.unlink()
    if damage != "gone":
        file.write_bytes(damaged[damage])
    again = replace(bench, ledger=type(bench.ledger)())
    if (name, damage) == (SEAL, "gone"):  # as of a training that was killed before its last write
        assert same(again.full_model(), model)
    else:
        with pytest.warns(MadeAgain, match=f"{name} is (damaged|missing).*; the full-precision model is trained again"):
            assert same(again.full_model(), model)
    assert again.ledger.total().samples == 2048
    with warnings.catch_warnings(action="error"):
        assert same(bench.full_model(), model), "what was trained again is shared"


def test_who_finds_the_full_model_is_told_of_its_epochs_like_who_trains_it() -> None:
    told: list[Epoch] = []
    bench = replace(tiny_bench("dnn", None), on_epoch=told.append)
    bench.full_model()
    trained = list(told)
    told.clear()
    bench.full_model()
    assert told == trained != []


def test_seeds_pair_over_methods_and_differ_between_seeds() -> None:
    bench, other = tiny_bench("deepfm", None), replace(tiny_bench("deepfm", None), seed=2)
    torch.rand(7)  # whatever a method drew before
    backbones = [b.model(b.full_table()).backbone.state_dict() for b in (bench, tiny_bench("deepfm", 0.5), other)]
    key = next(name for name, value in backbones[0].items() if value.ndim == 2)
    assert torch.equal(backbones[0][key], backbones[1][key])
    assert not torch.equal(backbones[0][key], backbones[2][key])
    draws = [torch.rand(3, generator=b.generator("x")).tolist() for b in (bench, bench, other)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0] != torch.rand(3, generator=bench.generator("y")).tolist()


def test_a_pipeline_hands_the_model_on_and_gives_the_budgets_out() -> None:
    bench = tiny_bench("deepfm", 0.5)
    Doubled.seen.clear()
    stages = (Stage(method=Doubled(), budget=Budget.model_validate(0.75)), Stage(method=Doubled()))
    model = Pipeline(pipeline=stages).compress(bench)
    full = bench.full_model()
    assert torch.equal(rows_of(model.embedding), 4 * rows_of(full.embedding))
    assert Doubled.seen == [int(0.75 * bench.fp32_bytes), bench.budget]
    assert bench.ledger.notes == {"0:doubled/rows": [{"doubled": True}], "1:doubled/rows": [{"doubled": True}]}
    assert {epoch.stage for epoch in bench.ledger.history} == {"full"}


def test_costs_of_all_stages_add_up() -> None:
    bench = tiny_bench("dcn", None)
    model = bench.full_model()
    bench.train(model, stage="retrain", epochs=2)
    total = bench.ledger.total()
    assert total.samples == 3 * 2048
    assert total.epochs == 3
    assert total.seconds == pytest.approx(sum(cost.seconds for cost in bench.ledger.costs))
    assert [epoch.stage for epoch in bench.ledger.history] == ["full", "retrain", "retrain"]


def test_recipe_changes_are_checked() -> None:
    bench = tiny_bench("dcn", None)
    with pytest.raises(ValueError, match="epoch"):
        bench.train(bench.model(bench.full_table()), epoch=3)
