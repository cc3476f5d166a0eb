"""The search space of a trial: a method's own settings, and hyperparameters of training."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sharkbench.backbones import BackboneConfig
from sharkbench.contract.budget import Budget
from sharkbench.contract.method import Method
from sharkbench.suite.search import Tunable
from sharkbench.training.recipe import Recipe

LEARNING_RATE, WEIGHT_DECAY, DROPOUT = "train.learning_rate", "train.embedding_l2", "backbone.dropout"

_LEARNING_RATES = 10.0
"""Learning rates range from the recipe's divided by this factor to the recipe's times this factor."""
_WEIGHT_DECAYS = (1e-7, 1e-2)
_DROPOUTS = (0.0, 0.5)


@dataclass(frozen=True)
class Configuration:
    """The configuration of one trial. Mappings hold the differences to the suite."""

    method: Method
    budget: Budget | None
    train: Mapping[str, Any] = field(default_factory=dict)
    backbone: Mapping[str, Any] = field(default_factory=dict)


class Trial(Protocol):
    """The part of an Optuna trial that a search space may use."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Space:
    """The search space of one entry of a suite.

    Attributes:
        method: as the suite states it; settings that it states are not tuned.
        recipe: recipe of the cell.
        tune: the hyperparameters to tune.
    """

    method: Method
    recipe: Recipe
    backbone: BackboneConfig
    tune: Sequence[Tunable]

    def defaults(self) -> dict[str, Any]:
        """Parameters of the default configuration that are in the space; a setting that the budget determines
        (``None``) is not."""
        recorder = _Defaults(self._settings())
        self._suggest(recorder)
        return recorder.found

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tune."""
        recorder = _Defaults(self._settings())
        self._suggest(recorder)
        return not recorder.asked

    def configuration(self, trial: Trial, budget: Budget | None, *, default: bool) -> Configuration:
        """The configuration that ``trial`` suggests; with ``default`` the suite's own configuration.

        Raises:
            pydantic.ValidationError: the suggested settings are incompatible.
        """
        if default:
            self._suggest(_Partly(trial, self.defaults(), _Defaults(self._settings())))
            return Configuration(self.method, budget)
        settings = self._suggest(trial)
        train = {name: settings[path] for path, name in _RECIPE.items() if path in settings}
        backbone = {"dropout": settings[DROPOUT]} if DROPOUT in settings else {}
        own = {name: value for name, value in settings.items() if name not in (*_RECIPE, DROPOUT)}
        method = type(self.method).model_validate({**dict(self.method), **own}) if own else self.method
        # If a tuned setting is one that the budget would determine, the configuration has no budget.
        return Configuration(method, budget if method.budgeted else None, train, backbone)

    def _settings(self) -> dict[str, Any]:
        """Values of the suite, by parameter."""
        own = {name: getattr(self.method, name) for name in type(self.method).model_fields}
        recipe = {path: getattr(self.recipe, name) for path, name in _RECIPE.items()}
        return {**own, **recipe, DROPOUT: getattr(self.backbone, "dropout", None)}

    def _suggest(self, trial: Trial) -> dict[str, Any]:
        """Suggested values of all tuned settings, by parameter."""
        suggested: dict[str, Any] = {}
        if "method" in self.tune:
            stated = {name: getattr(self.method, name) for name in self.method.model_fields_set}
            found = self.method.search_space(_Answering(trial, stated))
            suggested.update({name: value for name, value in found.items() if name not in stated})
        asking = _Answering(trial, {})
        if "learning_rate" in self.tune:
            middle = self.recipe.learning_rate
            suggested[LEARNING_RATE] = asking.suggest_float(
                LEARNING_RATE, middle / _LEARNING_RATES, middle * _LEARNING_RATES, log=True
            )
        if "weight_decay" in self.tune:
            suggested[WEIGHT_DECAY] = asking.suggest_float(WEIGHT_DECAY, *_WEIGHT_DECAYS, log=True)
        if "dropout" in self.tune and hasattr(self.backbone, "dropout"):
            suggested[DROPOUT] = asking.suggest_float(DROPOUT, *_DROPOUTS)
        return suggested


_RECIPE = {LEARNING_RATE: "learning_rate", WEIGHT_DECAY: "embedding_l2"}


class _Answering:
    """A trial that answers with ``known`` values first. It rounds suggestions, so that they can be read and pasted."""

    def __init__(self, trial: Trial, known: Mapping[str, Any]) -> None:
        self.trial, self.known = trial, known

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if name in self.known:
            return float(self.known[name])
        return rounded(self.trial.suggest_float(name, low, high, step=step, log=log), low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if name in self.known:
            return int(self.known[name])
        return self.trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.known[name] if name in self.known else self.trial.suggest_categorical(name, choices)


class _Partly:
    """Asks the trial for the parameters in ``names``, and ``other`` for the rest."""

    def __init__(self, trial: Trial, names: Container[str], other: Trial) -> None:
        self.trial, self.names, self.other = trial, names, other

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        return self._who(name).suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        return self._who(name).suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._who(name).suggest_categorical(name, choices)

    def _who(self, name: str) -> Trial:
        return self.trial if name in self.names else self.other


class _Defaults:
    """Answers every request with the present setting, and records those that are in the space."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.asked: list[str] = []
        self.found: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        value = self._remembered(name, lambda value: _is_number(value) and low <= value <= high)
        return low if value is None else float(value)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        inside = lambda value: _is_number(value) and low <= value <= high and (value - low) % step == 0  # noqa: E731
        value = self._remembered(name, inside)
        return low if value is None else int(value)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._remembered(name, lambda value: value in choices)
        return choices[0] if value is None else value

    def _remembered(self, name: str, inside: Any) -> Any:
        self.asked.append(name)
        value = self.settings.get(name)
        if name in self.settings and inside(value):
            self.found[name] = value
            return value
        return None


def rounded(value: float, low: float, high: float) -> float:
    """Round to four significant digits, within the range."""
    return min(max(float(f"{value:.4g}"), low), high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
