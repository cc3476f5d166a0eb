"""Search spaces live with their methods; what a suite states is not tuned, and its own settings come first."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import optuna
import pytest

from sharkbench.backbones.ctr.dnn import DNN
from sharkbench.backbones.ctr.fm import FM
from sharkbench.contract import registry
from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Family, Method
from sharkbench.contract.workbench import Workbench
from sharkbench.model.model import Model
from sharkbench.search.space import Space
from sharkbench.suite.search import Tunable
from sharkbench.training.recipe import Recipe

ALL: tuple[Tunable, ...] = ("method", "learning_rate", "weight_decay", "dropout")
BUDGET = Budget(fraction=0.5)


class Tuned(Method):
    """Has every kind of setting."""

    name: Literal["tuned"] = "tuned"
    steps: int = 4
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    only_with_b: float = 0.1
    solved: int | None = None

    title: ClassVar[str] = "-"
    paper: ClassVar[str] = "-"
    year: ClassVar[int] = 2020
    family: ClassVar[Family] = "none"

    def compress(self, bench: Workbench) -> Model:
        raise NotImplementedError

    @classmethod
    def search_space(cls, trial: Any) -> dict[str, Any]:
        settings = {
            "steps": trial.suggest_int("steps", 1, 8),
            "rate": trial.suggest_float("rate", 0.01, 1.0, log=True),
            "kind": trial.suggest_categorical("kind", ["b", "a"]),
            "solved": trial.suggest_int("solved", 1, 100, log=True),
        }
        if settings["kind"] == "b":
            settings["only_with_b"] = trial.suggest_float("only_with_b", 0.0, 1.0)
        return settings


def space(method: Method, tune: tuple[Tunable, ...] = ALL, **recipe: Any) -> Space:
    return Space(method, Recipe(**recipe), DNN(dropout=0.1), tune)


def first_trial(space: Space) -> tuple[optuna.trial.FrozenTrial, Any]:
    study = optuna.create_study()
    study.enqueue_trial(space.defaults())
    trial = study.ask()
    configuration = space.configuration(trial, BUDGET, default=True)
    return study.trials[0], configuration


def test_the_default_is_told_as_far_as_the_space_has_it() -> None:
    frozen, configuration = first_trial(space(Tuned(), learning_rate=0.003))
    assert configuration.method == Tuned()
    assert (configuration.train, configuration.backbone) == ({}, {})
    # What a budget would decide, and a weight decay of zero, have no place on a logarithmic scale.
    expected = {"steps": 4, "rate": 0.5, "kind": "a", "train.learning_rate": 0.003, "backbone.dropout": 0.1}
    assert frozen.params == expected


def test_suggestions_become_settings() -> None:
    trial = optuna.trial.FixedTrial(
        {"steps": 2, "rate": 0.123456789, "kind": "b", "only_with_b": 0.3, "solved": 7,
         "train.learning_rate": 0.002, "train.embedding_l2": 1e-5, "backbone.dropout": 0.4}
    )  # fmt: skip
    configuration = space(Tuned()).configuration(trial, BUDGET, default=False)
    assert configuration.method == Tuned(steps=2, rate=0.1235, kind="b", only_with_b=0.3, solved=7)
    assert configuration.train == {"learning_rate": 0.002, "embedding_l2": 1e-5}
    assert configuration.backbone == {"dropout": 0.4}
    assert configuration.budget == BUDGET


def test_what_the_suite_states_is_not_tuned() -> None:
    stated = space(Tuned(kind="b", rate=0.7), ("method",))
    assert stated.defaults() == {"steps": 4, "only_with_b": 0.1}
    trial = optuna.trial.FixedTrial({"steps": 2, "only_with_b": 0.3, "solved": 7})
    configuration = stated.configuration(trial, BUDGET, default=False)
    assert configuration.method == Tuned(steps=2, rate=0.7, kind="b", only_with_b=0.3, solved=7)


def test_only_what_is_asked_for_is_tuned() -> None:
    assert set(space(Tuned(), ("learning_rate",)).defaults()) == {"train.learning_rate"}
    assert Space(Tuned(), Recipe(), FM(), ("dropout",)).empty
    assert not space(Tuned(), ("dropout",)).empty


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_every_method_s_space_holds_settings_of_it_and_its_default(name: str) -> None:
    cls = registry.available()[name]
    if any(field.is_required() for field in cls.model_fields.values()):
        pytest.skip("it has no default")
    own = space(cls(name=name), ("method",))
    frozen, configuration = first_trial(own)
    assert configuration.method == cls(name=name)
    assert frozen.params == own.defaults()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        own.configuration(trial, BUDGET, default=False)
        assert set(study.trials[trial.number].params) <= set(cls.model_fields)
        study.tell(trial, 0.0)
