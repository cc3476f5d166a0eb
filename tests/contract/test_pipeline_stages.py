"""What a stage of a pipeline takes over: every method follows a field selection, and no stage's work is thrown away."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from sharkbench.contract import registry
from sharkbench.contract.check import tiny_bench
from sharkbench.contract.method import Method
from sharkbench.contract.pipeline import Pipeline, Stage
from sharkbench.contract.workbench import Workbench
from sharkbench.errors import Infeasible
from sharkbench.field_selection.method import FieldSelection
from sharkbench.model.model import Model
from sharkbench.tables.kept import rows_of

METHODS: dict[str, Method] = {name: registry.get(name)(name=name) for name in registry.names()}
OF_FIELDS = [name for name, method in METHODS.items() if method.takes == "fields"]
OF_MODELS = [name for name, method in METHODS.items() if method.takes == "model"]
BUDGET = 0.3
LEFT = (0, 2, 3)
"""A large field, one of several values, and a tiny one."""


class Selection(FieldSelection):
    """Leaves the fields :data:`LEFT`."""

    name: Literal["selection"] = "selection"

    def scores(self, bench: Workbench, model: Model) -> Tensor:
        return torch.tensor([float(f in LEFT) for f in model.embedding.fields])


SELECTION = Stage(method=Selection(keep=3, epochs=0))


def after_selection(name: str) -> Pipeline:
    return Pipeline(pipeline=(SELECTION, Stage(method=METHODS[name])))


@cache
def selected() -> tuple[Workbench, Model]:
    """A bench, and what the field selection makes of its full-precision model."""
    bench = tiny_bench("deepfm", BUDGET)
    return bench, SELECTION.method.compress(bench.for_stage("0", budget=None, start=None))


def fresh(bench: Workbench) -> Workbench:
    return replace(bench, ledger=type(bench.ledger)())


def own_budget(bench: Workbench, method: Method) -> Workbench:
    return bench if method.budgeted else bench.for_stage("", budget=None, start=None)


def test_there_are_methods_of_either_kind() -> None:
    assert len(OF_FIELDS) > 5
    assert len(OF_MODELS) > 5


@pytest.mark.parametrize("name", OF_FIELDS)
def test_a_method_that_trains_anew_compresses_the_fields_that_are_left(name: str) -> None:
    pipeline = after_selection(name)
    bench = fresh(own_budget(selected()[0], pipeline))
    model = pipeline.compress(bench)
    packed, ids = model.pack().layer, bench.dataset.splits["valid"].ids

    assert model.embedding.fields == packed.fields == LEFT
    torch.testing.assert_close(packed(ids), model.embedding.eval()(ids), rtol=1e-4, atol=1e-5)
    logits = model.pack()(ids, bench.dataset.splits["valid"].dense)
    assert torch.isfinite(logits).all()
    gone = [field.name for f, field in enumerate(bench.schema.fields) if f not in packed.fields]
    assert not any(packed.nbytes_by_field().get(name) for name in gone)
    if bench.budget is not None:
        assert packed.nbytes <= bench.budget


@pytest.mark.parametrize("name", OF_FIELDS)
def test_it_makes_something_else_of_them_than_of_all_fields(name: str) -> None:
    method = METHODS[name]
    bench = own_budget(selected()[0], method)
    try:
        of_all = rows_of(method.compress(fresh(bench)).embedding, LEFT)
    except Infeasible:
        return  # fewer fields are within reach where all of them are not
    after = rows_of(after_selection(name).compress(fresh(bench)).embedding, LEFT)
    assert not torch.equal(after, of_all)


@pytest.mark.parametrize("name", OF_MODELS)
def test_a_method_that_takes_the_model_starts_from_it(name: str) -> None:
    bench, left = selected()
    start = deepcopy(left)
    asked: list[Model | None] = []

    class Watched(Workbench):
        def start_model(self) -> Model:
            asked.append(self.start)
            return super().start_model()

    method = METHODS[name]
    on = Watched(**{**vars(fresh(own_budget(bench, method))), "start": start})
    try:
        made = method.compress(on)
    except Infeasible as reason:
        pytest.skip(str(reason))
    assert start in asked
    assert set(made.embedding.fields) <= set(start.embedding.fields)
    assert {epoch.stage.partition("/")[0] for epoch in on.ledger.history}.isdisjoint({"full"})


@pytest.mark.parametrize("name", OF_FIELDS)
@pytest.mark.parametrize("before", ["int8", "fp16", "hash", "magnitude", "full"])
def test_work_that_would_be_thrown_away_is_refused(before: str, name: str) -> None:
    stage: dict[str, Any] = {"name": before, **({"budget": 0.9} if METHODS[before].budgeted else {})}
    said = f"'{name}' trains anew and takes over no more than which fields are left, so the work of '{before}'"
    with pytest.raises(ValueError, match=said):
        registry.parse({"pipeline": [stage, name]})


@pytest.mark.parametrize("before", [name for name, method in METHODS.items() if not method.leaves_fields])
def test_whatever_leaves_all_fields_may_come_before_a_method_that_takes_the_model(before: str) -> None:
    stage: dict[str, Any] = {"name": before, **({"budget": 0.9} if METHODS[before].budgeted else {})}
    assert registry.parse({"pipeline": [stage, "int8"]}).takes == METHODS[before].takes


def test_a_setting_may_decide_what_is_taken_over() -> None:
    stages = [{"name": "hash", "budget": 0.9}, {"name": "low_rank", "start": "trained"}]
    assert registry.parse({"pipeline": stages}).takes == "fields"
    with pytest.raises(ValueError, match="'low_rank' trains anew"):
        registry.parse({"pipeline": [stages[0], {**stages[1], "start": "scratch"}]})
    fields_first = {"name": "largest_first", "budget": 0.6}
    registry.parse({"pipeline": [fields_first, {**stages[1], "start": "scratch"}]})
