"""Events of ``run_suite`` for observers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sharkbench.results.records import Epoch, Result
from sharkbench.suite.run import RunSpec


@dataclass(frozen=True)
class RunStarted:
    """A process has started to work on the run."""

    spec: RunSpec


@dataclass(frozen=True)
class EpochEnded:
    """A validation in a training stage of the run has ended."""

    key: str
    epoch: Epoch


@dataclass(frozen=True)
class RunEnded:
    """The run is stored; ``cached`` if it was stored before."""

    result: Result
    cached: bool


@dataclass(frozen=True)
class RunStopped:
    """The run was stopped early by its requester. Nothing of it is stored."""

    spec: RunSpec
    seconds: float


@dataclass(frozen=True)
class MeasureStarted:
    """Timing of the run's lookups has started; nothing else runs meanwhile."""

    key: str


@dataclass(frozen=True)
class MeasureEnded:
    """The run has a speed, or a reason why it has none."""

    key: str


@dataclass(frozen=True)
class Message:
    """One line of text for the user."""

    text: str


Event: TypeAlias = RunStarted | EpochEnded | RunEnded | RunStopped | MeasureStarted | MeasureEnded | Message
